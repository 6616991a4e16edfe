"""Measures the detail of an image: text height, edge density, uniform share, and kind by rules.

Measured once at upload, so that a planner can choose the smallest sufficient size without the pixels.
Overestimated text height makes text unreadable, underestimated height costs some tokens, so doubtful cases
round down. Independent of image files and the model.

The rules know four kinds. BLANK: in each channel, all pixels lie within BLANK_RANGE levels of each other.
TEXT: text covers the share COVERED, or less where there is little else. GRAPHIC: no photo's texture, and at
least the share SMOOTH of uniform cells. PHOTO: everything else. The gate (`encoder_svc/gate`) refines TEXT,
GRAPHIC and PHOTO, never BLANK.
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
"""A change of brightness between adjacent pixels that is an edge in any image."""
SAMPLED = 9
"""Every ninth row suffices for shares."""
SCALES = (1, 4)
"""Images are examined at full and at quarter size, the latter for letters four times as tall."""
LEAST_SIDE = 16

LEAST_BANDS, COMMON, ALIKE, SPREAD = 3, 0.05, 1.3, 1.6
"""A height is common if at least LEAST_BANDS bands and COMMON of all weight lie within ALIKE of it. Short
letters, tall letters and letters with a descender lie within SPREAD of the smallest common height; the median
is a tall letter.
"""

TEXTURED, SMOOTH = 0.13, 0.05
"""A photo has a larger share of small changes than TEXTURED, or a smaller share of uniform 32x32 cells than
SMOOTH.
"""
BLANK_RANGE = 2
"""Levels of 255. A uniform JPEG differs by less, a lossy WebP of a vivid colour by more."""
COVERED = 0.1
"""Share of a page's pixels that text covers."""
LEAST_COVERED, FILLED = 0.01, 0.15
"""Text that covers less of an image still makes it TEXT if it covers FILLED of what uniform cells leave, as
on a screen with a few paragraphs. Lines of text cover half of their cells, a chart's labels a tenth of what
is drawn.
"""
RULED = 0.25
"""Straight edges beside such text may be as long as this share of it. Axes, boxes and grids are longer."""


@dataclass(frozen=True)
class DetailMeasures:
    """The fields of ImageFacts that describe the content."""

    text_height: float
    edge_density: float
    uniform_share: float
    kind: ImageKind


@dataclass(frozen=True)
class _Ground:
    """The background of text. An edge of text is a change of at least `share` of a strong edge, clamped to
    `least` and `most`. Bands that look like text are at least `of_looked` of all bands of a fitting height.
    """

    share: float
    least: int
    most: int
    of_looked: float


_PAPER = _Ground(0.2, 16, 40, 0.0)
_TEXTURE = _Ground(0.5, 40, 64, 0.03)
_FAINT = 12  # smaller changes do not count as edges


@dataclass(frozen=True)
class _Changes:
    """Horizontal changes of brightness: the share of pixels by size of change."""

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
        """Shading, grain and texture: larger than zero, smaller than an edge."""
        return float(self.shares[3:SHARP].sum())

    def step(self, ground: _Ground) -> int:
        """The smallest change that counts as an edge of text."""
        reached = np.cumsum(self.shares[_FAINT:])
        strong = _FAINT + int(np.searchsorted(reached, 0.9 * reached[-1])) if reached[-1] else 0
        return int(min(ground.most, max(ground.least, ground.share * strong)))


def measure(image: Image.Image, rgb: npt.NDArray[np.uint8]) -> DetailMeasures:
    """`rgb` holds the pixels of `image`, contiguous. About 5 ms per megapixel, 8 without upright text."""
    grey = np.asarray(image.convert("L"))
    changes, uniform = _Changes.of(grey), _uniform_share(rgb)
    ground = _TEXTURE if changes.small > TEXTURED else _PAPER
    text = _text(grey, ground) or _text(_on_its_side(grey), ground)
    covered = _covered(text) / grey.size if text else 0.0
    drawn = ground is _PAPER and uniform >= SMOOTH
    graphic = ImageKind.GRAPHIC if drawn else ImageKind.PHOTO
    filled = drawn and covered >= max(LEAST_COVERED, FILLED * (1 - uniform))
    plain = covered >= COVERED or (filled and _straight(grey, changes.step(ground)) <= RULED * _length(text))
    kind = ImageKind.TEXT if plain else graphic
    return DetailMeasures(
        _smallest_common(text) if text else 0.0,
        changes.sharp,
        uniform,
        ImageKind.BLANK if is_blank(rgb) else kind,
    )


def is_blank(rgb: npt.NDArray[np.uint8]) -> bool:
    """Whether all pixels have one colour, within BLANK_RANGE levels of each channel. Few rows rule out most
    images.
    """
    return _spread(rgb[::SAMPLED]) <= BLANK_RANGE and _spread(rgb) <= BLANK_RANGE


def _spread(rgb: npt.NDArray[np.uint8]) -> int:
    """The largest difference of two pixels in a channel."""
    rows = rgb.reshape(len(rgb), -1)  # reduced along columns, which numpy does several values at a time
    highest, lowest = (side.reshape(-1, 3) for side in (rows.max(axis=0), rows.min(axis=0)))
    return int((highest.max(axis=0) - lowest.min(axis=0)).max())


def _on_its_side(grey: Bytes) -> Bytes:
    """The middle of the image, half as wide and high, transposed, for a page that lies on its side."""
    down, right = (side // 4 for side in grey.shape)
    return np.ascontiguousarray(grey[down : len(grey) - down, right : grey.shape[1] - right].T)


def _text(grey: Bytes, ground: _Ground) -> Bands | None:
    """The bands that are text; None if there are too few."""
    by_scale = [_bands(grey, scale, ground) for scale in SCALES if min(grey.shape) >= LEAST_SIDE * scale]
    heights = np.concatenate([np.empty(0, np.int64), *(each.heights for each in by_scale)])
    cells = np.concatenate([np.empty(0, np.int64), *(each.cells for each in by_scale)])
    text = Bands(heights, cells, sum(each.looked for each in by_scale))
    few = len(heights) < max(LEAST_BANDS, ground.of_looked * text.looked)
    return None if few or not _smallest_common(text) else text


def _bands(grey: Bytes, scale: int, ground: _Ground) -> Bands:
    """Bands at a scale, in pixels and cells of the full image. Reduced letters smear by half a pixel."""
    image = grey if scale == 1 else np.asarray(Image.fromarray(grey).reduce(scale))
    measured = bands.find(image, _Changes.of(image).step(ground))
    return Bands(measured.heights * scale - scale // 2, measured.cells * scale, measured.looked)


def _smallest_common(text: Bands) -> float:
    """The height of a tall letter of the smallest common text, 0 if no height is common.

    Bands are weighted by window width, because narrow windows see more bands of the same text.
    """
    order = np.argsort(text.heights, kind="stable")
    heights = text.heights[order]
    weights = np.concatenate([[0.0], np.cumsum(text.cells[order] / text.cells.sum())])
    ends = np.searchsorted(heights, ALIKE * heights, side="right")
    enough = ends - np.arange(len(heights)) >= LEAST_BANDS
    common = np.flatnonzero(enough & (weights[ends] - weights[:-1] >= COMMON))
    if not len(common):
        return 0.0
    first = int(common[0])
    last = int(np.searchsorted(heights, SPREAD * heights[first], side="right"))
    return float(heights[np.searchsorted(weights[1:], (weights[first] + weights[last]) / 2)])


def _covered(text: Bands) -> float:
    """Approximate count of text pixels: windows overlap by half, and two window sizes see each letter."""
    return float((text.heights * text.cells).sum()) * CELL / 4


def _length(text: Bands | None) -> float:
    """Approximate length of the lines of text, in pixels."""
    return float(text.cells.sum()) * CELL / 4 if text else 0.0


def _straight(grey: Bytes, step: int) -> int:
    """The length of straight edges along rows and columns, in pixels."""
    return bands.straight(grey, step) + bands.straight(np.ascontiguousarray(grey.T), step)


def _uniform_share(rgb: npt.NDArray[np.uint8]) -> float:
    """Share of uniform 32x32 cells among those that lie inside the image. Compares the lines of a cell word
    by word, then the pixels of its first line.
    """
    rows, columns = rgb.shape[0] // SQUARE, rgb.shape[1] // SQUARE
    if not rows * columns:
        return 0.0
    lines = rgb.reshape(len(rgb), -1)[: rows * SQUARE, : columns * SQUARE * 3].view(np.uint64)
    words = lines.reshape(rows, SQUARE, -1)
    alike = (words == words[:, :1]).all(axis=1).reshape(rows, columns, -1).all(axis=2)
    first = rgb[: rows * SQUARE : SQUARE, : columns * SQUARE].reshape(rows, columns, SQUARE, 3)
    return float((alike & (first == first[:, :, :1]).all(axis=(2, 3))).mean())
