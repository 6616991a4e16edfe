"""One step as the model takes it: tokens of many sequences laid end to end, without padding.

Everything that a layer needs is here, so that the model knows no request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decoder_svc.model.attention import AttentionPlan
from fovea.contract.rows import RowLayout


@dataclass(frozen=True, eq=False)
class VisualRows:
    """Rows for the tokens of the batch from `start` on: bytes (n, row_bytes), as they came."""

    start: int
    data: Tensor
    layout: RowLayout

    @property
    def place(self) -> slice:
        return slice(self.start, self.start + len(self.data))


@dataclass(frozen=True, eq=False)
class Output:
    """`logits` (samples, vocabulary) in fp32; and of every token of the batch whether what the model made of
    it is `finite`: its last hidden state, and its logits where they are wanted.
    """

    logits: Tensor
    finite: Tensor  # (tokens,) bool


@dataclass(frozen=True, eq=False)
class Batch:
    """`tokens` of all chunks; logits are wanted after those at `sample_at`, in the order of the
    chunks.
    """

    token_ids: Tensor  # (tokens,) int64
    positions: Tensor  # (3, tokens) int64: T, H, W
    slots: Tensor  # (tokens,) int64: where keys and values go in the pages
    sample_at: Tensor  # int64
    attention: AttentionPlan
    visual: tuple[VisualRows, ...]

    def to(self, device: torch.device) -> Batch:
        return replace(
            self,
            token_ids=self.token_ids.to(device),
            positions=self.positions.to(device),
            slots=self.slots.to(device),
            sample_at=self.sample_at.to(device),
            attention=self.attention.to(device),
        )
