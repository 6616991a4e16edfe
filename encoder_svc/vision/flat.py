"""Which cells of a picture say nothing that another does not say: squares of one colour in a larger region.

A cell is 32x32 pixels, one visual token. Uniform cells that stand together and are of one colour make a
region. A region is dropped whole where a cell beside it, that is not uniform, shows its colour too: the
background of a text, the fill of a bar. Of any other region the first cell stays, as a witness of its
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
    """The raster places, ascending, of the cells to be encoded, at least one; None where that is all."""
    low, high = extremes(rgb, cell)
    flat = _within(low, high, tolerance)
    witnesses = _witnesses(low, high, flat, tolerance)
    kept = witnesses == np.arange(len(witnesses))
    kept[list(_shown_beside(rgb, cell, tolerance, flat, low.reshape(-1, 3)[witnesses], witnesses))] = False
    kept[0] = kept[0] or not kept.any()
    return None if kept.all() else np.flatnonzero(kept).astype(np.int32)


def _shown_beside(
    rgb: NDArray[np.uint8],
    cell: int,
    tolerance: int,
    flat: Cells,
    colours: NDArray[np.uint8],
    witnesses: NDArray[np.int64],
) -> set[int]:
    """The witnesses of regions whose colour is seen in a cell that touches the region and is not uniform.

    `colours` (cells, 3) are those of each cell's witness.
    """
    columns = flat.shape[1]
    is_flat, shown = flat.ravel().tolist(), set[int]()
    asked: set[tuple[int, int]] = set()
    for place in np.flatnonzero(flat & _touching(~flat)).tolist():
        witness = int(witnesses[place])
        for beside in _around(place, columns, len(is_flat)):
            if witness in shown:
                break
            if not is_flat[beside] and (beside, witness) not in asked:
                asked.add((beside, witness))
                if _shows(rgb, cell, divmod(beside, columns), colours[place], tolerance):
                    shown.add(witness)
    return shown


def _shows(
    rgb: NDArray[np.uint8], cell: int, at: tuple[int, int], colour: NDArray[np.uint8], tolerance: int
) -> bool:
    """Whether a cell has a pixel of this colour."""
    row, column = at
    pixels = rgb[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].astype(np.int16)
    return bool((np.abs(pixels - colour) <= tolerance).all(axis=2).any())


def witnesses_of(rgb: NDArray[np.uint8], cell: int, tolerance: int) -> NDArray[np.int64]:
    """For each raster place the place of the cell that is kept in its stead: itself where it is kept.

    `rgb` is (height, width, 3), sides multiples of `cell`. Between a dropped cell and its witness lies a path
    of cells that have the same one, and no value of the two differs by more than `tolerance`: along a slow
    gradient the colour drifts, and where it has drifted too far a cell becomes a witness of its own.
    """
    low, high = extremes(rgb, cell)
    return _witnesses(low, high, _within(low, high, tolerance), tolerance)


def _witnesses(low: Values, high: Values, flat: Cells, tolerance: int) -> NDArray[np.int64]:
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


def _touching(cells: Cells) -> Cells:
    """Where one of the four neighbours is one of these cells."""
    touching = np.zeros_like(cells)
    touching[:, 1:] |= cells[:, :-1]
    touching[:, :-1] |= cells[:, 1:]
    touching[1:] |= cells[:-1]
    touching[:-1] |= cells[1:]
    return touching


def _around(place: int, columns: int, count: int) -> list[int]:
    """The places to the left, right, above and below, where there are any."""
    row, column = divmod(place, columns)
    found = [place - columns] * (row > 0) + [place + columns] * (place + columns < count)
    return found + [place - 1] * (column > 0) + [place + 1] * (column < columns - 1)


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
