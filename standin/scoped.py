"""Which rows an encoder would keep, for training: the best by attention and coverage.

SCOPE's order (encoder_svc/reduction/scope.py) for a whole batch, uniform squares behind all others, cut at a
share drawn for every picture. Independent of the model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from standin.squares import CELL

SHARES = (0.45, 0.9)
BEHIND = 1e-6  # of the attention that uniform squares got


def best_rows(rows: Tensor, attention: Tensor, uniform: Tensor, share: float) -> Tensor:
    """(B, rows) of rows (B, rows, H), the attention they got and which are uniform: a `share` of the pictures
    keeps between SHARES of its rows.
    """
    count, there = len(attention), attention > 0
    kept = torch.empty(count).uniform_(*SHARES).masked_fill(torch.rand(count) >= share, 1.0)
    weights = attention * torch.where(uniform, BEHIND, 1.0)
    return places_in_order(rows, weights) < (kept * there.sum(1)).ceil()[:, None]


def places_in_order(rows: Tensor, weights: Tensor) -> Tensor:
    """(B, rows): how many rows of its picture were chosen before each. Those without weight were not encoded:
    they come last, and nothing is gained by being like them.
    """
    unit = F.normalize(rows, dim=-1) * (weights > 0)[..., None]
    similar = (unit @ unit.transpose(1, 2)).clamp_min(0)
    each = torch.arange(len(rows))
    covered, place = torch.zeros_like(weights), torch.full_like(weights, -1)
    for step in range(weights.shape[1]):
        gain = weights * (similar - covered[:, None]).clamp_min(0).sum(2)
        best = gain.masked_fill(place >= 0, -1).argmax(1)
        place[each, best] = step
        covered = torch.maximum(covered, similar[each, best])
    return place


def uniform_squares(pictures: Tensor) -> Tensor:
    """(B, visual tokens) of pictures (B, H, W, 3): whether all pixels of a square have one colour."""
    count, height, width, _ = pictures.shape
    cells = pictures.view(count, height // CELL, CELL, width // CELL, CELL, 3)
    return (cells.amax((2, 4)) == cells.amin((2, 4))).all(-1).flatten(1)
