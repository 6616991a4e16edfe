"""Selects the cells of an image that carry information: drops uniform patches whose colour another cell
shows.

A cell is 32x32 pixels, a visual token. Adjacent uniform cells of the same colour form a region. A region is
dropped entirely if an adjacent, non-uniform cell also shows its colour: the background of text, the fill of a
bar. Any other region keeps its first cell as a witness of its colour. Pure numpy on resized pixels.
Independent of patches and the model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder_svc.images.decode import Pixels
from fovea.contract.row_stream import GridIndices

Cells = NDArray[np.bool_]
"""(rows, columns)"""
Values = NDArray[np.uint8]
"""(rows, columns, channels)"""
Span = tuple[list[int], list[int]]
"""The lowest and the highest value of each channel of a cell."""


def kept_cells(rgb: Pixels, cell: int, tolerance: int) -> GridIndices | None:
    """Indices of the cells to encode, at least a single cell; None for all."""
    low, high = extremes(rgb, cell)
    flat = _within(low, high, tolerance)
    witnesses = find_witnesses(low, high, flat, tolerance)
    kept = witnesses == np.arange(len(witnesses))
    kept[list(_shown_beside(rgb, cell, tolerance, flat, low.reshape(-1, 3)[witnesses], witnesses))] = False
    kept[0] = kept[0] or not kept.any()
    return None if kept.all() else np.flatnonzero(kept).astype(np.int32)


def _shown_beside(
    rgb: Pixels,
    cell: int,
    tolerance: int,
    flat: Cells,
    colours: NDArray[np.uint8],
    witnesses: NDArray[np.int64],
) -> set[int]:
    """Witnesses of regions whose colour appears in an adjacent, non-uniform cell.

    `colours` (cells, 3) holds the colour of each cell's witness.
    """
    columns = flat.shape[1]
    is_flat, shown = flat.ravel().tolist(), set[int]()
    checked: set[tuple[int, int]] = set()
    for index in np.flatnonzero(flat & _touching(~flat)).tolist():
        witness = int(witnesses[index])
        for neighbour in _around(index, columns, len(is_flat)):
            if witness in shown:
                break
            if not is_flat[neighbour] and (neighbour, witness) not in checked:
                checked.add((neighbour, witness))
                if _shows(rgb, cell, divmod(neighbour, columns), colours[index], tolerance):
                    shown.add(witness)
    return shown


def _shows(rgb: Pixels, cell: int, at: tuple[int, int], colour: NDArray[np.uint8], tolerance: int) -> bool:
    """Whether a cell has a pixel of this colour."""
    row, column = at
    pixels = rgb[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].astype(np.int16)
    return bool((np.abs(pixels - colour) <= tolerance).all(axis=2).any())


def find_witnesses(low: Values, high: Values, flat: Cells, tolerance: int) -> NDArray[np.int64]:
    """For each raster index the index of the cell that represents it: itself if it is kept.

    A path of cells with the same witness connects a dropped cell to it, and no value of the two differs by
    more than `tolerance`. Along a slow gradient the colour drifts; a cell that has drifted too far becomes a
    new witness.
    """
    columns = flat.shape[1]
    spans = list(zip(low.reshape(-1, 3).tolist(), high.reshape(-1, 3).tolist(), strict=True))
    witnesses = list(range(flat.size))
    is_flat = flat.ravel().tolist()
    for index in np.flatnonzero(_with_flat_neighbour(flat)).tolist():
        left = index - 1 if index % columns else None
        for neighbour in (left, index - columns):
            if neighbour is None or neighbour < 0 or not is_flat[neighbour]:
                continue
            if _alike(spans[index], spans[witnesses[neighbour]], tolerance):
                witnesses[index] = witnesses[neighbour]
                break
    return np.array(witnesses)


def uniform_cells(rgb: Pixels, cell: int, tolerance: int = 0) -> Cells:
    """Which cells are uniform, regardless of their neighbours."""
    return _within(*extremes(rgb, cell), tolerance)


def extremes(rgb: Pixels, cell: int) -> tuple[Values, Values]:
    """The lowest and the highest value of each channel per cell; sides are multiples of `cell`."""
    height, width = rgb.shape[:2]
    lines = rgb.reshape(height // cell, cell, width * 3)
    low, high = (of(lines, axis=1).reshape(height // cell, width // cell, cell, 3) for of in (np.min, np.max))
    return low.min(2), high.max(2)


def _within(low: Values, high: Values, tolerance: int) -> Cells:
    within: Cells = np.logical_and.reduce(high - low <= tolerance, axis=-1)
    return within


def _with_flat_neighbour(flat: Cells) -> Cells:
    """Flat cells with a flat neighbour to the left or above."""
    beside = np.zeros_like(flat)
    beside[:, 1:] |= flat[:, :-1]
    beside[1:] |= flat[:-1]
    return beside & flat


def _touching(cells: Cells) -> Cells:
    """Cells with any of these cells among their four neighbours."""
    touching = np.zeros_like(cells)
    touching[:, 1:] |= cells[:, :-1]
    touching[:, :-1] |= cells[:, 1:]
    touching[1:] |= cells[:-1]
    touching[:-1] |= cells[1:]
    return touching


def _around(index: int, columns: int, count: int) -> list[int]:
    """Indices of the existing neighbours left, right, above and below."""
    row, column = divmod(index, columns)
    around = [index - columns] * (row > 0) + [index + columns] * (index + columns < count)
    return around + [index - 1] * (column > 0) + [index + 1] * (column < columns - 1)


def _alike(first: Span, second: Span, tolerance: int) -> bool:
    """Whether all values of two flat cells lie within `tolerance`, per channel."""
    (low, high), (lower, higher) = first, second
    return (
        high[0] - lower[0] <= tolerance
        and higher[0] - low[0] <= tolerance
        and high[1] - lower[1] <= tolerance
        and higher[1] - low[1] <= tolerance
        and high[2] - lower[2] <= tolerance
        and higher[2] - low[2] <= tolerance
    )
