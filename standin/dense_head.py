"""The temporary head of pretraining.

Linear maps from visual rows to the dense labels of their four patches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from standin.labels import CLASSES

# An empty slot is the common case; without this weight the loss is nearly all about emptiness.
EMPTY_WEIGHT = 0.2
COLUMNS = ("glyph0", "glyph1", "glyph2", "item", "digit0", "digit1", "digit2", "colour")


class DenseHead(nn.Module):
    """One linear map a level; the loss is the weighted mean over levels of the sum over label columns."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, 4 * sum(CLASSES)) for _ in range(levels))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(levels))

    def forward(
        self, rows: list[Tensor], labels: Tensor, weights: list[float]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Rows of each level (B, tokens, width), labels (B, patches, 8) -> loss, first level's logits."""
        flat = labels[..., : len(CLASSES)].reshape(-1, len(CLASSES)).long()
        total, first = rows[0].new_zeros(()), ()
        for level, (row, weight) in enumerate(zip(rows, weights, strict=True)):
            if not weight:
                continue
            logits = self.maps[level](self.norms[level](row)).view(-1, sum(CLASSES)).split(CLASSES, dim=-1)
            losses = [_loss(part, flat[:, column]) for column, part in enumerate(logits)]
            total = total + weight * torch.stack(losses).sum()
            first = first or logits
        return total / sum(weights), first


@torch.no_grad()
def recall(logits: tuple[Tensor, ...], labels: Tensor) -> dict[str, float]:
    """Share of the patches where something stands whose class is the likeliest one, by label column."""
    flat = labels[..., : len(CLASSES)].reshape(-1, len(CLASSES)).long()
    shares = {}
    for column, name in enumerate(COLUMNS):
        there = flat[:, column] > 0
        hit = logits[column].argmax(-1)[there] == flat[there, column]
        shares[name] = float(hit.float().mean())
    return shares


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    weight = torch.ones(logits.shape[-1])
    weight[0] = EMPTY_WEIGHT
    return F.cross_entropy(logits, target, weight)
