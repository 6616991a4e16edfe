"""The network's input, a view: a thumbnail of the image, above two of its cells at full scale.

A thumbnail shows the layout, but averages away grain, which tells a photograph from a drawing, and letters.
The busiest cell shows what the edges are made of, the calmest cell what the ground is. The trainer uses the
same function.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE, CELL = 128, 64
HEIGHT, WIDTH = SIDE + CELL, SIDE
SAMPLED = 8
"""Every eighth row suffices to rank cells."""

Pixels = npt.NDArray[np.uint8]


def view(rgb: Pixels) -> Pixels:
    """(height, width, 3) to (HEIGHT, WIDTH, 3). The thumbnail loses the aspect ratio."""
    seen = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    seen[:SIDE] = thumbnail(rgb)
    whole = _at_least_a_cell(rgb)
    activity = _activity(whole)
    for place, cell in enumerate((activity.argmax(), activity.argmin())):
        row, column = divmod(int(cell), activity.shape[1])
        seen[SIDE:, place * CELL : (place + 1) * CELL] = whole[
            row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL
        ]
    return seen


def thumbnail(rgb: Pixels) -> Pixels:
    """(SIDE, SIDE, 3). A large image is first averaged over boxes of pixels, to no less than twice that."""
    image = Image.fromarray(rgb)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def _at_least_a_cell(rgb: Pixels) -> Pixels:
    """A narrow or low image, its last row and column repeated."""
    down, right = (max(0, CELL - side) for side in rgb.shape[:2])
    return np.pad(rgb, ((0, down), (0, right), (0, 0)), "edge") if down or right else rgb


def _activity(rgb: Pixels) -> npt.NDArray[np.int64]:
    """(rows, columns) of whole cells: the sum of the changes of green along sampled rows."""
    rows, columns = rgb.shape[0] // CELL, rgb.shape[1] // CELL
    green = rgb[: rows * CELL : SAMPLED, : columns * CELL, 1]
    change = np.zeros(green.shape, np.uint8)
    change[:, 1:] = np.maximum(green[:, 1:], green[:, :-1]) - np.minimum(green[:, 1:], green[:, :-1])
    cells = change.reshape(rows, CELL // SAMPLED, columns, CELL)
    activity: npt.NDArray[np.int64] = cells.sum(axis=3, dtype=np.int64).sum(axis=1)
    return activity
