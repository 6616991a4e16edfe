"""Finds bands of edges that look like lines of text and measures their height, from brightness alone; no OCR.

Letters leave sharp horizontal edges in bands that are clear above and below, and whose height stays about the
same from letter to letter. The edges are examined in windows about two letters wide, in several widths for
several letter heights. A band counts if its rows begin more strokes on average than a line does, and if an
adjacent window has a similar band. Rules, bars, slanted lines, dots and most photographic texture fail one of
these tests.

Each step passes once over the image, or over a map of an eighth of it. Independent of image files and facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

CELL = 8
"""Pixels of a row per cell: eight flags fill a word."""
WINDOWS = (1, 2, 4)
"""Window widths, in cells."""
LOW, HIGH, LEAST = 0.375, 1.4, 4
"""A window measures bands whose height is LOW to HIGH of its width, and at least LEAST pixels."""
CLEAR = 0.2
"""Empty rows required above and below a band, as a share of its height."""
STROKES = 1.15
"""Strokes that begin in a row of a band, on average; a line or a dot begins once."""
ALIGNED = (0.12, 0.4)
"""Tolerances for the nearer and the farther end of a band in the adjacent window, as shares of the height and
at least a pixel. Tall and short letters share a baseline; a slanted line misses at both ends.
"""
STRAIGHT = 4
"""Cells of a row that an edge fills if it is straight; the bar of a letter is shorter."""
_ONES = np.uint64(0x0101010101010101)
_FAR = 1 << 32


@dataclass(frozen=True)
class Bands:
    """The height of each band in pixels, and the width of its window in cells: narrow windows see more bands.

    `looked` counts all bands of a fitting height, text or not.
    """

    heights: Numbers
    cells: Numbers
    looked: int


def find(grey: Bytes, step: int) -> Bands:
    """The bands of an image. An edge is a change of brightness by `step` or more."""
    edges = np.ascontiguousarray(_edges(grey, step).T)
    strokes = np.zeros((edges.shape[0], edges.shape[1] + 1), np.int32)
    np.cumsum(_strokes(grey, step).T, axis=1, dtype=np.int32, out=strokes[:, 1:])
    measured = [_in_windows(edges, strokes, cells) for cells in WINDOWS]
    heights, looked = zip(*measured, strict=True)
    cells = [
        np.full(len(run_heights), width, np.int64)
        for run_heights, width in zip(heights, WINDOWS, strict=True)
    ]
    return Bands(np.concatenate(heights), np.concatenate(cells), sum(looked))


def straight(grey: Bytes, step: int) -> int:
    """The approximate length of the edges that run along a row over at least STRAIGHT cells, in pixels."""
    flags = _blank(grey)
    above, below = grey[:-1], grey[1:]
    change = np.maximum(above, below)
    change -= np.minimum(above, below)
    np.greater_equal(change, step, out=flags[:-1, : grey.shape[1]])
    run = flags.view(np.uint64) == _ONES
    for _ in range(STRAIGHT - 1):
        run = run[:, 1:] & run[:, :-1]
    return CELL * int(run.sum())


def _edges(grey: Bytes, step: int) -> Bytes:
    """(rows, cells): pixels of each cell that differ from the next pixel of their row."""
    flags = _blank(grey)
    left, right = grey[:, :-1], grey[:, 1:]
    change = np.maximum(left, right)
    change -= np.minimum(left, right)
    np.greater_equal(change, step, out=flags[:, : grey.shape[1] - 1])
    return _counted(flags)


def _strokes(grey: Bytes, step: int) -> Bytes:
    """(rows, cells): drops of brightness that begin in each cell. A stroke drops once, dark or light."""
    falls, begins = _blank(grey), _blank(grey)
    left, right = grey[:, :-1], grey[:, 1:]
    change = np.maximum(left, right)
    change -= right
    np.greater_equal(change, step, out=falls[:, : grey.shape[1] - 1])
    np.greater(falls[:, 1:], falls[:, :-1], out=begins[:, 1:])
    begins[:, 0] = falls[:, 0]
    return _counted(begins)


def _blank(grey: Bytes) -> Flags:
    """A flag per pixel, in whole cells."""
    rows, width = grey.shape
    return np.zeros((rows, -(-width // CELL) * CELL), np.bool_)


def _counted(flags: Flags) -> Bytes:
    return ((flags.view(np.uint64) * _ONES) >> np.uint64(56)).astype(np.uint8)


def _in_windows(edges: Bytes, strokes: npt.NDArray[np.int32], cells: int) -> tuple[Numbers, int]:
    """Heights of the text bands in windows of `cells` cells, and the count of candidate bands.

    `edges` is (cells, rows); `strokes` holds cumulative sums over the rows above.
    """
    runs, looked = _runs(_windows(edges, cells), cells)
    first = runs.window * max(1, cells // 2)
    begun = sum(
        strokes[first + cell, runs.top + runs.height] - strokes[first + cell, runs.top]
        for cell in range(cells)
    )
    runs = runs.only(begun >= STROKES * runs.height)
    return runs.height[_beside(runs)], looked


def _windows(edges: Bytes, cells: int) -> Flags:
    """(windows, rows): whether a window has edges. Windows overlap by half if they have an even number of
    cells.
    """
    if cells == 1:
        return edges > 0
    half = cells // 2
    whole = edges[: len(edges) // half * half].reshape(-1, half, edges.shape[1])
    halves = np.bitwise_or.reduce(whole, axis=1)
    joined: Bytes = halves[:-1] | halves[1:]
    return joined > 0


@dataclass(frozen=True)
class _Runs:
    """Runs of rows with edges, in window order."""

    window: Numbers
    top: Numbers
    height: Numbers

    def only(self, which: Flags) -> _Runs:
        return _Runs(self.window[which], self.top[which], self.height[which])


def _runs(active: Flags, cells: int) -> tuple[_Runs, int]:
    """Runs of a fitting height with clear rows around them, and the count of all runs of a fitting height."""
    low, high = max(LEAST, LOW * CELL * cells), HIGH * CELL * cells
    count, rows = active.shape
    stride = rows + 1 + int(CLEAR * high)  # runs of different windows are never close
    framed = np.zeros(1 + count * stride, np.bool_)
    framed[1:].reshape(count, stride)[:, :rows] = active
    changes = np.flatnonzero(framed[1:] != framed[:-1])
    starts, ends = changes[::2], changes[1::2]
    height = ends - starts
    gaps = np.concatenate([[rows], starts[1:] - ends[:-1], [rows]])
    fits = (height >= low) & (height <= high)
    clear = fits & (np.minimum(gaps[:-1], gaps[1:]) >= np.maximum(1, CLEAR * height))
    window, top = np.divmod(starts[clear], stride)
    return _Runs(window, top, height[clear]), int(fits.sum())


def _beside(runs: _Runs) -> Flags:
    """Which runs have a run of about the same top and bottom in an adjacent window."""
    position = runs.window * _FAR + runs.top
    target = position + _FAR
    same, about = (np.maximum(1, share * runs.height) for share in ALIGNED)
    first = np.searchsorted(position, target - about)
    aligned = np.zeros(len(position), np.bool_)
    for near in (first, first + 1) if len(position) else ():
        near = near.clip(0, len(position) - 1)
        tops = np.abs(position[near] - target)
        ends = np.abs(position[near] + runs.height[near] - target - runs.height)
        fits = (np.minimum(tops, ends) <= same) & (np.maximum(tops, ends) <= about)
        aligned |= fits
        aligned[near[fits]] = True
    return aligned
