"""Bands of edges that stand like lines of text: how high they are, from brightness alone; nothing is read.

Letters leave sharp edges from left to right, in bands that stand clear of what is above and below, and
whose height stays about the same from one letter to the next. So the edges are looked at in windows about as
wide as two letters, of several widths for letters of several heights. A band counts where more than one
stroke begins in a row of it, and where a window beside has about the same band. Rules, bars, slanted lines
and dots fail one or the other, and most of the texture of photographs too.

Every step goes once over the picture, or over a map of an eighth of it. Knows no image file and no facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

CELL = 8
"""Pixels of a row that are looked at as one: eight flags are one word."""
WINDOWS = (1, 2, 4)
"""Cells a window."""
LOW, HIGH, LEAST = 0.375, 1.4, 4
"""A window measures bands that are LOW to HIGH of its width high, and at least LEAST pixels."""
CLEAR = 0.2
"""Empty rows above and below a band, of its height."""
STROKES = 1.15
"""Strokes that begin in a row of a band, on average; a line or a dot has one."""
ALIGNED = (0.12, 0.4)
"""How far one end of a band may be from that in the window beside, and how far the other, of the height; a
pixel always. High letters and low stand on one line; a slanted line leaves with both ends."""
_ONES = np.uint64(0x0101010101010101)
_FAR = 1 << 32


@dataclass(frozen=True)
class Bands:
    """Of each band its height in pixels, and how many cells its window has: narrow ones see more of them.

    `looked` is how many bands of a fitting height there were, of whatever look.
    """

    heights: Numbers
    cells: Numbers
    looked: int


def find(grey: Bytes, step: int) -> Bands:
    """The bands of a picture, where an edge is a change of brightness by `step` or more."""
    edges = np.ascontiguousarray(_edges(grey, step).T)
    strokes = np.zeros((edges.shape[0], edges.shape[1] + 1), np.int32)
    np.cumsum(_strokes(grey, step).T, axis=1, dtype=np.int32, out=strokes[:, 1:])
    found = [_in_windows(edges, strokes, cells) for cells in WINDOWS]
    heights, looked = zip(*found, strict=True)
    cells = [np.full(len(some), wide, np.int64) for some, wide in zip(heights, WINDOWS, strict=True)]
    return Bands(np.concatenate(heights), np.concatenate(cells), sum(looked))


def _edges(grey: Bytes, step: int) -> Bytes:
    """(rows, cells): how many pixels of each cell differ from the next of their row."""
    flags = _blank(grey)
    left, right = grey[:, :-1], grey[:, 1:]
    change = np.maximum(left, right)
    change -= np.minimum(left, right)
    np.greater_equal(change, step, out=flags[:, : grey.shape[1] - 1])
    return _counted(flags)


def _strokes(grey: Bytes, step: int) -> Bytes:
    """(rows, cells): how many falls of brightness begin in each cell; a stroke has one, on either ground."""
    falls, begins = _blank(grey), _blank(grey)
    left, right = grey[:, :-1], grey[:, 1:]
    change = np.maximum(left, right)
    change -= right
    np.greater_equal(change, step, out=falls[:, : grey.shape[1] - 1])
    np.greater(falls[:, 1:], falls[:, :-1], out=begins[:, 1:])
    begins[:, 0] = falls[:, 0]
    return _counted(begins)


def _blank(grey: Bytes) -> Flags:
    """One flag a pixel, in whole cells."""
    rows, width = grey.shape
    return np.zeros((rows, -(-width // CELL) * CELL), np.bool_)


def _counted(flags: Flags) -> Bytes:
    return ((flags.view(np.uint64) * _ONES) >> np.uint64(56)).astype(np.uint8)


def _in_windows(edges: Bytes, strokes: npt.NDArray[np.int32], cells: int) -> tuple[Numbers, int]:
    """Heights of the bands in windows of so many cells, and how many bands were looked at.

    `edges` is (cells, rows), `strokes` sums those of the rows above.
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
    """(windows, rows): where a window has edges. It overlaps the next by half, where it has halves."""
    if cells == 1:
        return edges > 0
    half = cells // 2
    whole = edges[: len(edges) // half * half].reshape(-1, half, edges.shape[1])
    halves = np.bitwise_or.reduce(whole, axis=1)
    joined: Bytes = halves[:-1] | halves[1:]
    return joined > 0


@dataclass(frozen=True)
class _Runs:
    """Runs of rows with edges, in the order of their windows."""

    window: Numbers
    top: Numbers
    height: Numbers

    def only(self, which: Flags) -> _Runs:
        return _Runs(self.window[which], self.top[which], self.height[which])


def _runs(active: Flags, cells: int) -> tuple[_Runs, int]:
    """Those of a fitting height that stand clear, and how many had the height."""
    low, high = max(LEAST, LOW * CELL * cells), HIGH * CELL * cells
    count, rows = active.shape
    apart = rows + 1 + int(CLEAR * high)  # what lies in the next window is never close
    framed = np.zeros(1 + count * apart, np.bool_)
    framed[1:].reshape(count, apart)[:, :rows] = active
    changes = np.flatnonzero(framed[1:] != framed[:-1])
    starts, ends = changes[::2], changes[1::2]
    height = ends - starts
    gaps = np.concatenate([[rows], starts[1:] - ends[:-1], [rows]])
    fits = (height >= low) & (height <= high)
    clear = fits & (np.minimum(gaps[:-1], gaps[1:]) >= np.maximum(1, CLEAR * height))
    window, top = np.divmod(starts[clear], apart)
    return _Runs(window, top, height[clear]), int(fits.sum())


def _beside(runs: _Runs) -> Flags:
    """Which runs have one of about the same top and bottom in a window beside."""
    place = runs.window * _FAR + runs.top
    wanted = place + _FAR
    same, about = (np.maximum(1, share * runs.height) for share in ALIGNED)
    first = np.searchsorted(place, wanted - about)
    found = np.zeros(len(place), np.bool_)
    for near in (first, first + 1) if len(place) else ():
        near = near.clip(0, len(place) - 1)
        tops = np.abs(place[near] - wanted)
        ends = np.abs(place[near] + runs.height[near] - wanted - runs.height)
        fits = (np.minimum(tops, ends) <= same) & (np.maximum(tops, ends) <= about)
        found |= fits
        found[near[fits]] = True
    return found
