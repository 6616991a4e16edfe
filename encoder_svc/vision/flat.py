"""Which cells of a picture say nothing that another does not say: squares of one colour in a larger region.

A cell is 32x32 pixels, one visual token. A uniform cell is dropped where its left or its upper neighbour is
uniform and belongs to a region of the same colour; the first cell of every region stays, as a witness of its
colour. Pure numpy on pixels after the resize. Knows no patches and no model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.bool_]
"""(rows, columns)"""
Values = NDArray[np.uint8]
"""(rows, columns, channels)"""
Span = tuple[list[int], list[int]]
"""The lowest and the highest value of each channel of one cell."""


def kept_cells(rgb: NDArray[np.uint8], cell: int, tolerance: int) -> NDArray[np.int32] | None:
    """The raster places, ascending, of the cells to be encoded; None where that is all of them."""
    witnesses = witnesses_of(rgb, cell, tolerance)
    kept = np.flatnonzero(witnesses == np.arange(len(witnesses))).astype(np.int32)
    return kept if len(kept) < len(witnesses) else None


def witnesses_of(rgb: NDArray[np.uint8], cell: int, tolerance: int) -> NDArray[np.int64]:
    """For each raster place the place of the cell that is kept in its stead: itself where it is kept.

    `rgb` is (height, width, 3), sides multiples of `cell`. Between a dropped cell and its witness lies a path
    of cells that have the same one, and no value of the two differs by more than `tolerance`: along a slow
    gradient the colour drifts, and where it has drifted too far a cell becomes a witness of its own.
    """
    low, high = extremes(rgb, cell)
    flat = _within(low, high, tolerance)
    columns = flat.shape[1]
    spans = list(zip(low.reshape(-1, 3).tolist(), high.reshape(-1, 3).tolist(), strict=True))
    witnesses = list(range(flat.size))
    is_flat = flat.ravel().tolist()
    for place in np.flatnonzero(_beside(flat)).tolist():
        left = place - 1 if place % columns else None
        for neighbour in (left, place - columns):
            if neighbour is None or neighbour < 0 or not is_flat[neighbour]:
                continue
            if _alike(spans[place], spans[witnesses[neighbour]], tolerance):
                witnesses[place] = witnesses[neighbour]
                break
    return np.array(witnesses)


def uniform_cells(rgb: NDArray[np.uint8], cell: int, tolerance: int = 0) -> Cells:
    """Which cells are of one colour, whatever is beside them."""
    return _within(*extremes(rgb, cell), tolerance)


def extremes(rgb: NDArray[np.uint8], cell: int) -> tuple[Values, Values]:
    """The lowest and the highest value of each channel in each cell."""
    height, width = rgb.shape[:2]
    lines = rgb.reshape(height // cell, cell, width * 3)
    low, high = (of(lines, axis=1).reshape(height // cell, width // cell, cell, 3) for of in (np.min, np.max))
    return low.min(2), high.max(2)


def _within(low: Values, high: Values, tolerance: int) -> Cells:
    within: Cells = np.logical_and.reduce(high - low <= tolerance, axis=-1)
    return within


def _beside(flat: Cells) -> Cells:
    """Flat cells with a flat neighbour to the left or above."""
    beside = np.zeros_like(flat)
    beside[:, 1:] |= flat[:, :-1]
    beside[1:] |= flat[:-1]
    return beside & flat


def _alike(one: Span, other: Span, tolerance: int) -> bool:
    """Whether all values of two flat cells lie within `tolerance`, channel by channel."""
    (low, high), (lower, higher) = one, other
    return (
        high[0] - lower[0] <= tolerance
        and higher[0] - low[0] <= tolerance
        and high[1] - lower[1] <= tolerance
        and higher[1] - low[1] <= tolerance
        and high[2] - lower[2] <= tolerance
        and higher[2] - low[2] <= tolerance
    )
