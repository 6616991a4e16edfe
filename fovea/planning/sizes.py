"""The sizes that an image can be given: the smallest, the next larger one, the largest that all can have.

A size stands where the checkpoint's processor would leave an image of it as it is. Scaling down rounds sides
down, so a `max_pixels` near the checkpoint's least can end below it: what is chosen here never does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fovea.geometry import Geometry, Planned

Size = tuple[int, int]
"""Width and height in pixels, after the EXIF orientation was applied."""


def stands(planned: Planned, geometry: Geometry) -> bool:
    """Whether the processor would leave an image of this size, whose sides are whole cells, as it is."""
    return geometry.min_pixels <= planned.width * planned.height <= geometry.max_pixels


def smallest(size: Size, tokens: int, geometry: Geometry) -> int:
    """The least max_pixels at which the plan stands and costs `tokens` at least.

    An image that has fewer tokens at its own size is left at that.
    """
    enough = max(tokens, -(-geometry.min_pixels // geometry.cell**2))
    pixels = geometry.within(tokens * geometry.cell**2)
    planned = geometry.plan(*size, pixels)
    while planned.tokens < enough:
        more = _larger(size, pixels, planned, geometry)
        if more is None:
            break
        pixels, planned = more, geometry.plan(*size, more)
    return pixels


def larger(size: Size, max_pixels: int, geometry: Geometry) -> int | None:
    """The least max_pixels that gives another grid than this one; None where nothing is scaled any more."""
    return _larger(size, max_pixels, geometry.plan(*size, max_pixels), geometry)


def _larger(size: Size, max_pixels: int, planned: Planned, geometry: Geometry) -> int | None:
    width, height = size
    most = min(own_pixels(size, geometry), geometry.max_pixels)
    if max_pixels >= most:
        return None
    cell = geometry.cell
    wider = height * (planned.width + cell) ** 2 // width + 2  # beyond what rounding of the scale can lose
    higher = width * (planned.height + cell) ** 2 // height + 2
    return min(max(max_pixels + 1, min(wider, higher)), most)


def own_pixels(size: Size, geometry: Geometry) -> int:
    """The max_pixels from which on the image keeps its own size, to whole cells."""
    cell = geometry.cell
    return round(size[0] / cell) * round(size[1] / cell) * cell**2


def largest_for_all(sizes: Sequence[Size], tokens: int, geometry: Geometry) -> int | None:
    """The largest max_pixels, within the checkpoint's limits, at which all images together cost at most
    `tokens`; None if there is none.

    Exact. The cost of an image never falls as max_pixels grows, but in one place: at the image's own rounded
    size it is no longer scaled, and a side that scaling had to draw one cell high takes fewer cells. So the
    sum never falls between two such places, and there halving finds the edge; the highest stretch that has
    one holds the answer.
    """
    for low, high in _stretches(sizes, geometry):
        if _cost(sizes, low, geometry) <= tokens:
            return _edge(sizes, tokens, low, high, geometry)
    return None


def _stretches(sizes: Sequence[Size], geometry: Geometry) -> Iterator[tuple[int, int]]:
    """(lowest, highest) max_pixels of each stretch on which the cost never falls, from the top down."""
    own = {own_pixels(size, geometry) for size in sizes}
    inside = {pixels for pixels in own if geometry.min_pixels < pixels <= geometry.max_pixels}
    high = geometry.max_pixels
    for low in sorted(inside | {geometry.min_pixels}, reverse=True):
        yield low, high
        high = low - 1


def _edge(sizes: Sequence[Size], tokens: int, low: int, high: int, geometry: Geometry) -> int:
    """The highest max_pixels of a stretch that costs at most `tokens`, its lowest being known to."""
    fits, exceeds = low, high + 1
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if _cost(sizes, middle, geometry) <= tokens:
            fits = middle
        else:
            exceeds = middle
    return fits


def _cost(sizes: Sequence[Size], max_pixels: int, geometry: Geometry) -> int:
    return sum(geometry.plan(width, height, max_pixels).tokens for width, height in sizes)
