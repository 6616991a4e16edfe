"""What each image of a request becomes, and whether the whole fits the context: pure arithmetic.

For now every image is planned at one limit, the request's or the server's. This module knows sizes and
counts; it knows no bytes, no text and no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from decoder_svc.errors import ContextTooLong
from fovea.geometry import Geometry, Planned

Size = tuple[int, int]
"""Width and height in pixels, after the EXIF orientation was applied."""

Placed = tuple[int, int, int]
"""Width, height, and the max_pixels that the image is planned at."""


@dataclass(frozen=True)
class Plan:
    """The size, grid and cost of one image at `max_pixels`."""

    max_pixels: int
    planned: Planned


def plan(sizes: Sequence[Size], max_pixels: int, geometry: Geometry) -> list[Plan]:
    """One plan an image, in order. Raises what `Geometry.plan` raises: SizeInvalid, AspectTooExtreme."""
    return [Plan(max_pixels, geometry.plan(width, height, max_pixels)) for width, height in sizes]


def check_fit(
    text_tokens: int, images: Sequence[Placed], max_new_tokens: int, max_context: int, geometry: Geometry
) -> None:
    """Text, images and the longest possible answer fit the context, or ContextTooLong.

    The error names the largest max_pixels at which they would, or 0 where none does; nothing where there is
    no image to shrink.
    """
    tokens = text_tokens + sum(geometry.plan(*image).tokens for image in images)
    if tokens + max_new_tokens <= max_context:
        return
    if not images:
        raise ContextTooLong(max_context, tokens, max_new_tokens)
    left = max_context - max_new_tokens - text_tokens
    largest = largest_max_pixels([(width, height) for width, height, _ in images], left, geometry)
    raise ContextTooLong(max_context, tokens, max_new_tokens, largest or 0)


def largest_max_pixels(sizes: Sequence[Size], tokens: int, geometry: Geometry) -> int | None:
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
    cell = geometry.cell
    own = {round(width / cell) * round(height / cell) * cell**2 for width, height in sizes}
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
