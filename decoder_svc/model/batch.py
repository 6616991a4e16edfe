"""A step as the model reads it: tokens of many sequences end to end, without padding.

The batch has everything that a layer needs, so that the model knows no request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decoder_svc.model.attention import AttentionPlan
from fovea.contract.rows import RowLayout


@dataclass(frozen=True, eq=False)
class VisualRows:
    """Rows for the tokens of the batch from `start` on: bytes (n, row_bytes), as received."""

    start: int
    data: Tensor
    layout: RowLayout

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + len(self.data))


@dataclass(frozen=True, eq=False)
class Output:
    """`logits` (samples, vocabulary) in fp32. `finite` tells for every token of the batch whether its last
    hidden state and its logits, if computed, are finite.
    """

    logits: Tensor
    finite: Tensor  # (tokens,) bool


@dataclass(frozen=True, eq=False)
class Batch:
    """The tokens of all chunks. Logits follow the tokens at `sample_at`, in order of the chunks."""

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


def blank_batch(
    size: int, context: int, table_blocks: int, spare: int, block_size: int, device: torch.device
) -> Batch:
    """A decode of `size` sequences of a token each, planned for `context`, that use only the spare block."""
    starts = torch.arange(size + 1, dtype=torch.int32, device=device)
    plan = AttentionPlan(
        queries=(1,) * size,
        contexts=(context,) * size,
        tables=torch.full((size, table_blocks), spare, dtype=torch.int32, device=device),
        query_starts=starts,
        context_starts=starts.clone(),
        lengths=torch.ones(size, dtype=torch.int32, device=device),
        block_size=block_size,
    )
    token_ids = torch.zeros(size, dtype=torch.int64, device=device)
    slots = torch.full((size,), spare * block_size, device=device)
    return Batch(token_ids, token_ids.expand(3, -1).clone(), slots, starts[:-1].long(), plan, ())
