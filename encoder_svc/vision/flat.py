"""Which cells of a picture say nothing that another cell does not say: squares of one colour in a larger
region.

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
    lows, highs = low.reshape(-1, 3).tolist(), high.reshape(-1, 3).tolist()
    witnesses = np.arange(flat.size).tolist()
    for place in np.flatnonzero(_beside(flat)).tolist():
        before = ([place - 1] if place % columns else []) + ([place - columns] if place >= columns else [])
        for neighbour in before:
            witness = witnesses[neighbour]
            if flat.flat[neighbour] and _alike(lows, highs, place, witness, tolerance):
                witnesses[place] = witness
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
    within: Cells = np.all((high - low) <= tolerance, axis=-1)
    return within


def _beside(flat: Cells) -> Cells:
    """Flat cells with a flat neighbour to the left or above."""
    beside = np.zeros_like(flat)
    beside[:, 1:] |= flat[:, :-1]
    beside[1:] |= flat[:-1]
    return beside & flat


def _alike(lows: list[list[int]], highs: list[list[int]], one: int, other: int, tolerance: int) -> bool:
    return all(
        max(highs[one][channel], highs[other][channel]) - min(lows[one][channel], lows[other][channel])
        <= tolerance
        for channel in range(3)
    )
