"""Token geometry: from the width and height of an image to its visual tokens.

Pure arithmetic, identical to the Qwen3-VL image processor for every size; used by both services, the client
and the command. A patch is 16x16 pixels. A visual token is 2x2 patches, 32x32 pixels, so an image has four
times as many patches as tokens. Independent of pixels, models and requests.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from fovea.checkpoint import read_json
from fovea.contract.errors import AspectTooExtreme, CheckpointNotSupported, SizeInvalid, Violation

FILE = "preprocessor_config.json"

DEFAULT_MAX_PIXELS = 1_310_720
"""1,280 tokens: a phone photo fits the default context. Checkpoints allow far more."""

MAX_ASPECT = 200
"""Longer side over shorter side; the limit of the Qwen3-VL processor."""


class Planned(NamedTuple):
    """The planned size in pixels, the patch grid and the token count of an image."""

    width: int
    height: int
    grid_thw: tuple[int, int, int]
    patches: int
    tokens: int


@dataclass(frozen=True)
class Geometry:
    """The constants of a checkpoint's image processor. Pixel limits count pixels, not sides."""

    patch: int = 16
    merge: int = 2
    temporal: int = 2
    min_pixels: int = 65_536
    max_pixels: int = 16_777_216

    @classmethod
    def from_checkpoint(cls, directory: Path | str) -> Geometry:
        """Read preprocessor_config.json. Its limits are under `size`, or at top level in older files."""
        config = read_json(directory, FILE)
        try:
            geometry = cls(
                patch=_count(config, "patch_size"),
                merge=_count(config, "merge_size"),
                temporal=_count(config, "temporal_patch_size"),
                min_pixels=_limit(config, "shortest_edge", "min_pixels"),
                max_pixels=_limit(config, "longest_edge", "max_pixels"),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointNotSupported(f"{FILE} lacks a usable {error}", file=FILE) from error
        if geometry.min_pixels > geometry.max_pixels:
            raise CheckpointNotSupported(
                f"{FILE}: size.shortest_edge {geometry.min_pixels} is above"
                f" size.longest_edge {geometry.max_pixels}",
                file=FILE,
                field="size.shortest_edge",
            )
        return geometry

    @property
    def cell(self) -> int:
        """The side of a visual token in pixels: 32."""
        return self.patch * self.merge

    def plan(self, width: int, height: int, max_pixels: int | None = None) -> Planned:
        """The size, grid and token count of an image of `width` x `height` (after EXIF orientation).

        `max_pixels` can only lower the checkpoint's limit. It acts like the processor's `longest_edge`: it
        bounds the tokens, with two exceptions. A side shorter than a cell still takes a cell, and a small
        image is enlarged to reach `min_pixels`.
        """
        return _planned(width, height, self._limit(max_pixels), self.min_pixels, self.patch, self.merge)

    def limit(
        self,
        width: int,
        height: int,
        max_pixels: int | None = None,
        max_short_side: int = 0,
        max_long_side: int = 0,
    ) -> int:
        """The single `max_pixels` for `plan` that combines a pixel limit and side limits.

        A side limit of 0 is none, and a limit above the image's own side has no effect. The result is never
        below `min_pixels`, to which `plan` enlarges, and never above the checkpoint's limit. A side limit
        adds a pixel to the exact product, because `plan` rounds down to whole cells: a side a hair below
        its limit would lose a cell.
        """
        _check_size(width, height)
        limit = self._limit(max_pixels)
        for bound, side in ((max_short_side, min(width, height)), (max_long_side, max(width, height))):
            if 0 < bound < side:
                limit = min(limit, width * height * bound * bound // (side * side) + 1)
        return self.within(limit)

    def largest_fitting(self, width: int, height: int, tokens: int) -> int | None:
        """The largest max_pixels (at most the checkpoint's) whose plan costs at most `tokens`, or None.

        Exact. Below the image's own rounded size the token count is monotonic in max_pixels, so bisection
        finds the edge. From that size on it no longer depends on max_pixels; the first test covers this case.
        """
        if self.plan(width, height).tokens <= tokens:
            return self.max_pixels
        own = round(width / self.cell) * round(height / self.cell) * self.cell**2

        def cost(max_pixels: int) -> int:
            return self.plan(width, height, max_pixels).tokens

        return bisect_right(range(1, min(own, self.max_pixels)), tokens, key=cost) or None

    def within(self, max_pixels: int) -> int:
        """`max_pixels` clamped to the checkpoint's limits."""
        return max(self.min_pixels, min(max_pixels, self.max_pixels))

    def _limit(self, max_pixels: int | None) -> int:
        if max_pixels is None:
            return self.max_pixels
        if max_pixels < 1:
            raise SizeInvalid(
                f"max_pixels is {max_pixels}: it must be at least 1",
                violations=[Violation("max_pixels", "below 1")],
                limit=1,
                actual=max_pixels,
            )
        return min(max_pixels, self.max_pixels)


# Planners evaluate the same sizes many times, within a request and across requests.
@lru_cache(maxsize=16_384)
def _planned(width: int, height: int, max_pixels: int, min_pixels: int, patch: int, merge: int) -> Planned:
    cell = patch * merge
    new_width, new_height = _smart_resize(width, height, max_pixels, min_pixels, cell)
    grid = (1, new_height // patch, new_width // patch)
    patches = grid[1] * grid[2]
    return Planned(new_width, new_height, grid, patches, patches // merge**2)


def _smart_resize(width: int, height: int, max_pixels: int, min_pixels: int, cell: int) -> tuple[int, int]:
    """(width, height) as `smart_resize` of transformers' Qwen2-VL image processor computes them.

    Sides are rounded to multiples of a cell with Python's round (half to even). With too many pixels, both
    are scaled by a common factor and floored; with too few, scaled and ceiled.
    """
    _check_size(width, height)
    new_height, new_width = round(height / cell) * cell, round(width / cell) * cell
    if new_height * new_width > max_pixels:
        scale = math.sqrt((height * width) / max_pixels)
        new_height = max(cell, math.floor(height / scale / cell) * cell)
        new_width = max(cell, math.floor(width / scale / cell) * cell)
    elif new_height * new_width < min_pixels:
        scale = math.sqrt(min_pixels / (height * width))
        new_height = math.ceil(height * scale / cell) * cell
        new_width = math.ceil(width * scale / cell) * cell
    return new_width, new_height


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise SizeInvalid(
            f"the image is {width}x{height}: both sides must be at least 1",
            violations=[Violation("width" if width < 1 else "height", "below 1")],
            width=width,
            height=height,
        )
    if max(width, height) / min(width, height) > MAX_ASPECT:
        raise AspectTooExtreme(width, height, MAX_ASPECT)


def _limit(config: dict[str, Any], edge: str, pixels: str) -> int:
    if config.get(pixels) is not None:
        return _count(config, pixels)
    return _count(config["size"], edge)


def _count(config: dict[str, Any], name: str) -> int:
    value = config[name]
    if type(value) is not int or value < 1:
        raise ValueError(name)
    return value
