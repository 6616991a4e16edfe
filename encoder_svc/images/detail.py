"""How much detail a picture has: the height of its text, its edges, its flat squares, what it mostly shows.

Measured once, when a picture is uploaded, so that a planner can choose the smallest size that suffices and
needs no pixels for it. Text that is held to be higher than it is becomes unreadable, text that is held to be
lower costs some tokens, so doubts go to the smaller side. Knows no file and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoder_svc.images import bands
from encoder_svc.images.bands import CELL, Bands, Bytes
from fovea.contract.image import ImageKind

SQUARE = 32
SHARP = 24
"""A change of brightness from one pixel to the next that is an edge to anybody."""
SAMPLED = 9
"""Every so many rows are enough for shares."""
SCALES = (1, 4)
"""Pictures are looked at as they are and at a quarter, for letters four times as high."""
LEAST_SIDE = 16

LEAST_BANDS, COMMON, ALIKE, SPREAD = 3, 0.05, 1.3, 1.6
"""A height is common where LEAST_BANDS bands and COMMON of all lie within ALIKE of it. From the smallest such
height on, low letters, high ones and those with a tail lie within SPREAD; the middle is a high letter."""

TEXTURED, SMOOTH = 0.13, 0.05
"""Nobody drew the ground of a picture with more small changes, or with fewer uniform squares, than these."""
COVERED = 0.1
"""Of the pixels of a page, those on which text was seen."""


@dataclass(frozen=True)
class DetailMeasures:
    """The fields of ImageFacts that say what a picture shows."""

    text_height: float
    edge_density: float
    uniform_share: float
    kind: ImageKind


@dataclass(frozen=True)
class _Ground:
    """What text stands on. Edges of text are at least a `share` of the strong edges, within `least` and
    `most`, and bands that look like text at least `of_looked` of all that have such a height.
    """

    share: float
    least: int
    most: int
    of_looked: float


_PAPER = _Ground(0.2, 16, 40, 0.0)
_TEXTURE = _Ground(0.5, 40, 64, 0.03)
_FAINT = 12  # changes below say nothing of how strong edges are


@dataclass(frozen=True)
class _Changes:
    """How brightness changes along the rows, as shares of pixels by the size of the change."""

    shares: npt.NDArray[np.float64]

    @classmethod
    def of(cls, grey: Bytes) -> _Changes:
        rows = grey[::SAMPLED]
        change = np.maximum(rows[:, 1:], rows[:, :-1])
        change -= np.minimum(rows[:, 1:], rows[:, :-1])
        return cls(np.bincount(change.ravel(), minlength=256) / max(1, change.size))

    @property
    def sharp(self) -> float:
        return float(self.shares[SHARP:].sum())

    @property
    def small(self) -> float:
        """Neither nothing nor an edge: shade, grain, texture."""
        return float(self.shares[3:SHARP].sum())

    def step(self, ground: _Ground) -> int:
        """The least change that is an edge of text."""
        reached = np.cumsum(self.shares[_FAINT:])
        strong = _FAINT + int(np.searchsorted(reached, 0.9 * reached[-1])) if reached[-1] else 0
        return int(min(ground.most, max(ground.least, ground.share * strong)))


def measure(image: Image.Image, rgb: npt.NDArray[np.uint8]) -> DetailMeasures:
    """`rgb` are the pixels of `image`, contiguous. About 5 ms a megapixel, 8 where no text is upright."""
    grey = np.asarray(image.convert("L"))
    changes, uniform = _Changes.of(grey), _uniform_share(rgb)
    ground = _TEXTURE if changes.small > TEXTURED else _PAPER
    found = _text(grey, ground) or _text(_on_its_side(grey), ground)
    covered = _covered(found) / grey.size if found else 0.0
    drawn = ground is _PAPER and uniform >= SMOOTH
    kind = ImageKind.TEXT if covered >= COVERED else ImageKind.GRAPHIC if drawn else ImageKind.PHOTO
    return DetailMeasures(_smallest_common(found) if found else 0.0, changes.sharp, uniform, kind)


def _on_its_side(grey: Bytes) -> Bytes:
    """The middle, half as wide and high, turned: a page that lies on its side has text there too."""
    down, right = (side // 4 for side in grey.shape)
    return np.ascontiguousarray(grey[down : len(grey) - down, right : grey.shape[1] - right].T)


def _text(grey: Bytes, ground: _Ground) -> Bands | None:
    """The bands that are text; None where there are too few to say so."""
    found = [_bands(grey, scale, ground) for scale in SCALES if min(grey.shape) >= LEAST_SIDE * scale]
    heights = np.concatenate([np.empty(0, np.int64), *(one.heights for one in found)])
    cells = np.concatenate([np.empty(0, np.int64), *(one.cells for one in found)])
    text = Bands(heights, cells, sum(one.looked for one in found))
    few = len(heights) < max(LEAST_BANDS, ground.of_looked * text.looked)
    return None if few or not _smallest_common(text) else text


def _bands(grey: Bytes, scale: int, ground: _Ground) -> Bands:
    """At one scale; heights in pixels of the picture, cells too. Reduced letters smear by half a pixel."""
    image = grey if scale == 1 else np.asarray(Image.fromarray(grey).reduce(scale))
    found = bands.find(image, _Changes.of(image).step(ground))
    return Bands(found.heights * scale - scale // 2, found.cells * scale, found.looked)


def _smallest_common(found: Bands) -> float:
    """The height of a high letter of the smallest common text, 0 where no height is common.

    Bands weigh as much as their windows are wide, because narrow windows see more bands of one text.
    """
    order = np.argsort(found.heights, kind="stable")
    heights = found.heights[order]
    weights = np.concatenate([[0.0], np.cumsum(found.cells[order] / found.cells.sum())])
    ends = np.searchsorted(heights, ALIKE * heights, side="right")
    many = ends - np.arange(len(heights)) >= LEAST_BANDS
    common = np.flatnonzero(many & (weights[ends] - weights[:-1] >= COMMON))
    if not len(common):
        return 0.0
    first = int(common[0])
    last = int(np.searchsorted(heights, SPREAD * heights[first], side="right"))
    return float(heights[np.searchsorted(weights[1:], (weights[first] + weights[last]) / 2)])


def _covered(found: Bands) -> float:
    """Pixels that are seen as text, about: windows overlap by half, and those of two sizes see a letter."""
    return float((found.heights * found.cells).sum()) * CELL / 4


def _uniform_share(rgb: npt.NDArray[np.uint8]) -> float:
    """Of the whole squares: their lines are compared by words, and the pixels of their first line."""
    rows, columns = rgb.shape[0] // SQUARE, rgb.shape[1] // SQUARE
    if not rows * columns:
        return 0.0
    lines = rgb.reshape(len(rgb), -1)[: rows * SQUARE, : columns * SQUARE * 3].view(np.uint64)
    words = lines.reshape(rows, SQUARE, -1)
    alike = (words == words[:, :1]).all(axis=1).reshape(rows, columns, -1).all(axis=2)
    first = rgb[: rows * SQUARE : SQUARE, : columns * SQUARE].reshape(rows, columns, SQUARE, 3)
    return float((alike & (first == first[:, :, :1]).all(axis=(2, 3))).mean())
