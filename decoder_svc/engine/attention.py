"""Attention over pages: one implementation is chosen at the start and used by every layer.

Each takes flat queries of many sequences, whose keys and values have been written to the pages
already, and answers in the same order. Nothing here knows requests, images or positions: rotation
happened before.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from decoder_svc.engine.kv import LayerPages


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """Who attends to what in this step: made once, used by every layer.

    Sequence i has `queries[i]` tokens in the batch, the last of its `contexts[i]` tokens so far,
    which lie in the blocks of row i of `tables` (sequences, most blocks), int32.
    """

    queries: tuple[int, ...]
    contexts: tuple[int, ...]
    tables: Tensor
    query_starts: Tensor  # (sequences + 1,) int32
    context_starts: Tensor

    @property
    def decodes(self) -> int:
        """How many sequences at the front have a single query."""
        return next((i for i, n in enumerate(self.queries) if n != 1), len(self.queries))

    def to(self, device: torch.device) -> AttentionPlan:
        return replace(
            self,
            tables=self.tables.to(device),
            query_starts=self.query_starts.to(device),
            context_starts=self.context_starts.to(device),
        )


class Attention(Protocol):
    name: str
    block_size: int  # that suits it

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        """(tokens, heads, head_dim) -> the same shape. Causal: a query sees itself and all before."""
        ...


class SdpaAttention:
    """torch's own kernel over gathered pages: one call for all decodes, one for each prompt chunk."""

    name = "sdpa"
    block_size = 16

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        decodes = plan.decodes
        out = [self._decode(q[:decodes], pages, plan, scale)] if decodes else []
        start = decodes
        for i in range(decodes, len(plan.queries)):
            end = start + plan.queries[i]
            k, v = _gather(pages, plan.tables[i : i + 1], plan.contexts[i])
            out.append(_sdpa(q[start:end].transpose(0, 1)[None], k, v, scale)[0].transpose(0, 1))
            start = end
        return torch.cat(out)

    @staticmethod
    def _decode(q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        """One query a sequence; the shorter contexts are padded to the longest and masked."""
        longest = max(plan.contexts[: len(q)])
        k, v = _gather(pages, plan.tables[: len(q)], longest)
        contexts = plan.context_starts[: len(q) + 1].diff()
        seen = torch.arange(longest, device=q.device) < contexts[:, None]
        return _sdpa(q[:, :, None], k, v, scale, seen[:, None, None])[:, :, 0]


def _gather(pages: LayerPages, tables: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Keys and values (sequences, kv heads, context, head_dim) out of their blocks."""
    blocks = tables[:, : -(-context // pages.keys.shape[1])]
    k = pages.keys[blocks].flatten(1, 2)[:, :context].transpose(1, 2)
    v = pages.values[blocks].flatten(1, 2)[:, :context].transpose(1, 2)
    return k, v


def _sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    n, context = q.shape[2], k.shape[2]
    if 1 < n < context:  # a chunk with a past: the diagonal ends in the lower right corner
        mask = torch.ones(n, context, dtype=torch.bool, device=q.device).tril(context - n)
    return F.scaled_dot_product_attention(
        q, k, v, mask, is_causal=1 < n == context, scale=scale, enable_gqa=True
    )


class FlashAttention:
    """The flash-attn package: all sequences in one call, straight from the pages."""

    name = "flash"
    block_size = 256  # FlashAttention 2 takes pages of multiples of 256

    def __init__(self) -> None:
        self._kernel: Any = importlib.import_module("flash_attn").flash_attn_varlen_func

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        out: Tensor = self._kernel(
            q,
            pages.keys,
            pages.values,
            cu_seqlens_q=plan.query_starts,
            cu_seqlens_k=plan.context_starts,
            max_seqlen_q=max(plan.queries),
            max_seqlen_k=max(plan.contexts),
            softmax_scale=scale,
            causal=True,
            block_table=plan.tables,
        )
        return out


def choose_attention(device: torch.device, dtype: torch.dtype) -> tuple[Attention, str]:
    """The implementation for this machine, and why."""
    if device.type != "cuda":
        return SdpaAttention(), "torch's own kernel"
    if dtype is torch.float32:
        return SdpaAttention(), "flash-attn knows no fp32"
    if importlib.util.find_spec("flash_attn") is None:
        return SdpaAttention(), "the flash-attn package is not installed"
    return FlashAttention(), "CUDA and the flash-attn package"
