"""Which 32x32 squares of a picture an encoder would drop as uniform, for training.

One of three rules is drawn for every picture, so that the model does not learn the rule of a single encoder: drop
all uniform squares (as often as the other two together), all but the first of each colour, or of each region.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CELL = 32
RULES = (0, 0, 1, 2)


def squares_there(pictures: Tensor, share: float) -> Tensor | None:
    """(B, visual tokens) of pictures (B, H, W, 3): a `share` of them loses squares; None if the share is 0."""
    if not share:
        return None
    there = torch.ones(len(pictures), pictures.shape[1] * pictures.shape[2] // CELL**2, dtype=torch.bool)
    for at in torch.nonzero(torch.rand(len(pictures)) < share).flatten().tolist():
        rule = RULES[int(torch.randint(len(RULES), ()))]
        there[at] = torch.from_numpy(kept_squares(pictures[at].numpy(), rule))
    return there


def kept_squares(rgb: NDArray[np.uint8], rule: int) -> NDArray[np.bool_]:
    """(rows * columns) of a picture (H, W, 3); never none at all."""
    colours, uniform = _colours(rgb)
    kept = ~uniform
    seen: set[int] = set()
    for place in np.flatnonzero(uniform).tolist():
        row, column = divmod(place, uniform.shape[1])
        colour = int(colours[row, column])
        above = row > 0 and uniform[row - 1, column] and colours[row - 1, column] == colour
        left = column > 0 and uniform[row, column - 1] and colours[row, column - 1] == colour
        first = colour not in seen if rule == 1 else not (above or left)
        kept[row, column] = rule > 0 and first
        seen.add(colour)
    flat = kept.reshape(-1)
    flat[0] = flat[0] or not flat.any()
    return flat


def _colours(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The colour of each square as one number, and whether all its pixels have it; (rows, columns) each."""
    rows, columns = rgb.shape[0] // CELL, rgb.shape[1] // CELL
    cells = rgb.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2).reshape(rows, columns, -1, 3)
    uniform = (cells == cells[:, :, :1]).all(axis=(2, 3))
    return cells[:, :, 0].astype(np.int64) @ np.array([65536, 256, 1]), uniform
