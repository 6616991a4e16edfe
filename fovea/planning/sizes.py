"""The sizes that an image can take: the smallest, the next larger, the largest common to several images.

A size is stable if the checkpoint's processor leaves an image of that size unchanged. Downscaling rounds
sides down, so a `max_pixels` near the checkpoint's minimum can end below it; the sizes chosen here never do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from fovea.geometry import Geometry, Planned

Size = tuple[int, int]
"""Width and height in pixels, after EXIF orientation."""


def stands(planned: Planned, geometry: Geometry) -> bool:
    """Whether the processor leaves an image of this size (whose sides are whole cells) unchanged."""
    return geometry.min_pixels <= planned.width * planned.height <= geometry.max_pixels


def smallest(size: Size, tokens: int, geometry: Geometry) -> int:
    """The least max_pixels whose plan is stable and costs at least `tokens`.

    An image with fewer tokens at its own size keeps that size.
    """
    min_tokens = max(tokens, -(-geometry.min_pixels // geometry.cell**2))
    pixels = geometry.within(tokens * geometry.cell**2)
    planned = geometry.plan(*size, pixels)
    while planned.tokens < min_tokens:
        more = larger(size, pixels, geometry)
        if more is None:
            break
        pixels, planned = more, geometry.plan(*size, more)
    return pixels


def larger(size: Size, max_pixels: int, geometry: Geometry) -> int | None:
    """The least max_pixels that gives a larger grid; None if the image is no longer downscaled."""
    width, height = size
    most = min(own_pixels(size, geometry), geometry.max_pixels)
    if max_pixels >= most:
        return None
    cell, planned = geometry.cell, geometry.plan(*size, max_pixels)
    wider = height * (planned.width + cell) ** 2 // width + 2  # more than rounding of the scale can lose
    higher = width * (planned.height + cell) ** 2 // height + 2
    return min(max(max_pixels + 1, min(wider, higher)), most)


def own_pixels(size: Size, geometry: Geometry) -> int:
    """The max_pixels from which on the image keeps its own size, rounded to whole cells."""
    cell = geometry.cell
    return round(size[0] / cell) * round(size[1] / cell) * cell**2


def largest_for_all(sizes: Sequence[Size], tokens: int, geometry: Geometry) -> int | None:
    """The largest max_pixels at which all images together cost at most `tokens`, or None.

    Within the checkpoint's limits, and exact. The cost of an image is monotonic in max_pixels except at its
    own rounded size. There the image is no longer scaled, so a long thin image may take fewer cells than just
    below. So the sum is monotonic between two such sizes, where bisection finds the edge. The highest
    interval with a solution holds the answer.
    """

    def cost(max_pixels: int) -> int:
        return sum(geometry.plan(width, height, max_pixels).tokens for width, height in sizes)

    for low, high in _stretches(sizes, geometry):
        if cost(low) <= tokens:
            return low + bisect_right(range(low, high + 1), tokens, key=cost) - 1
    return None


def _stretches(sizes: Sequence[Size], geometry: Geometry) -> Iterator[tuple[int, int]]:
    """(lowest, highest) max_pixels of each monotonic interval, from the top down."""
    own = {own_pixels(size, geometry) for size in sizes}
    inside = {pixels for pixels in own if geometry.min_pixels < pixels <= geometry.max_pixels}
    high = geometry.max_pixels
    for low in sorted(inside | {geometry.min_pixels}, reverse=True):
        yield low, high
        high = low - 1
