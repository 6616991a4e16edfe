"""Attention over pages. The implementation is chosen at the start and used by every layer.

An implementation takes the flat, rotated queries of many sequences, whose keys and values are in the pages
already, and returns the outputs in the same order. Independent of requests, images and positions.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from decoder_svc.model.pages import LayerPages

# Per CPU thread: fits its cache and stays below the size from which malloc asks the kernel each time.
GATHERED_BYTES = 2 << 20
PAGING_ERROR = 0.03  # for values of size 1: bf16 is off by 0.01, a missing key by more


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """Which tokens attend to which in a step. Built once and used by every layer.

    Sequence i has `contexts[i]` tokens so far; the last `queries[i]` of them are in the batch. Row i of
    `tables` (sequences, most blocks), int32, lists the blocks that hold them. Blocks may hold stale values of
    other sequences beyond a context, even NaN. They must not affect any output.
    """

    queries: tuple[int, ...]
    contexts: tuple[int, ...]
    tables: Tensor
    query_starts: Tensor  # (sequences + 1,) int32
    context_starts: Tensor
    lengths: Tensor  # the contexts (sequences,) int32
    block_size: int

    @property
    def decodes(self) -> int:
        """The number of leading sequences with a single query."""
        return next((i for i, n in enumerate(self.queries) if n != 1), len(self.queries))

    @cached_property
    def groups(self) -> tuple[DecodeGroup, ...]:
        """The decodes grouped by similar context, so that padding stays small."""
        contexts = self.contexts[: self.decodes]
        if not contexts:
            return ()
        if max(contexts) <= 2 * min(contexts) + 64:
            return (self._group(slice(0, self.decodes), contexts),)
        groups: list[list[int]] = []
        for i in sorted(range(self.decodes), key=contexts.__getitem__):
            if not groups or contexts[i] > 2 * contexts[groups[-1][0]] + 64:
                groups.append([])
            groups[-1].append(i)
        device = self.tables.device
        return tuple(self._group(torch.tensor(g, device=device), [contexts[i] for i in g]) for g in groups)

    def _group(self, rows: slice | Tensor, contexts: Sequence[int]) -> DecodeGroup:
        longest, size, lengths = max(contexts), self.block_size, self.lengths[rows, None]
        tables = self.tables[rows, : -(-longest // size)]
        if min(contexts) == longest:
            return DecodeGroup(rows, longest, tables)
        unseen = torch.arange(tables.shape[1] * size, device=tables.device) >= lengths
        # For an unseen block a sequence gathers its own first block, which affects no other sequence.
        tables = torch.where(unseen[:, ::size], tables[:, :1], tables)
        # A float mask that is added to the scores. Every layer would convert a bool mask to floats.
        hidden = torch.zeros(unseen.shape, device=unseen.device).masked_fill_(unseen, -torch.inf)
        return DecodeGroup(rows, longest, tables, hidden[:, :longest], _Stale.of(contexts, tables, size))

    def to(self, device: torch.device) -> AttentionPlan:
        if device == self.tables.device:
            return self
        return replace(
            self,
            tables=self.tables.to(device),
            query_starts=self.query_starts.to(device),
            context_starts=self.context_starts.to(device),
            lengths=self.lengths.to(device),
        )


@dataclass(frozen=True, eq=False)
class _Stale:
    """Gathered tokens beyond the contexts of a group. The mask alone does not make them harmless: 0 x NaN is
    NaN. The first `ends[i]` of `indices` belong to the first i sequences.
    """

    indices: Tensor
    ends: tuple[int, ...]
    width: int  # gathered tokens of a sequence

    @classmethod
    def of(cls, contexts: Sequence[int], tables: Tensor, size: int) -> _Stale:
        width = tables.shape[1] * size
        # A context shorter than a block gathers its stale tail again for its unseen blocks.
        tails = [range(c, width if c < size else -(-c // size) * size) for c in contexts]
        indices = [i * width + index for i, tail in enumerate(tails) for index in tail]
        ends = (0, *accumulate(map(len, tails)))
        return cls(torch.tensor(indices, dtype=torch.int64, device=tables.device), ends, width)

    def clear(self, kv: Tensor, part: slice) -> None:
        """Zero the stale tokens in `kv`, gathered for the sequences of `part`."""
        indices = self.indices[self.ends[part.start] : self.ends[part.stop]]
        if part.start:
            indices = indices - part.start * self.width
        kv.flatten(0, 1).index_fill_(0, indices, 0)


@dataclass(frozen=True, eq=False)
class DecodeGroup:
    """Decodes that are computed together: their rows, the longest context, the blocks to gather, and a mask
    of 0 or -inf that is added to the scores (sequences, longest), None if all contexts are equal.
    """

    rows: slice | Tensor
    longest: int
    tables: Tensor
    mask: Tensor | None = None
    stale: _Stale | None = None


class Attention(Protocol):
    name: str
    block_size: int  # the size that it needs or prefers
    captures: bool  # whether a CUDA graph may hold its decodes

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        """(tokens, heads, head_dim) to the same shape. Causal: a query sees itself and earlier tokens."""
        ...


class GatheredAttention:
    """torch's kernels over gathered pages: a call per group of decodes, two calls per prompt chunk."""

    name = "sdpa"
    block_size = 16
    captures = False

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        start = plan.decodes
        if start == len(q) and len(plan.groups) == 1:
            return self._decode(q, pages, plan.groups[0], scale)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        for group in plan.groups:
            out[group.rows] = self._decode(q[group.rows], pages, group, scale)
        for i in range(start, len(plan.queries)):
            end = start + plan.queries[i]
            out[start:end] = self._chunk(q[start:end], pages, plan.tables[i], plan.contexts[i], scale)
            start = end
        return out

    @staticmethod
    def _decode(q: Tensor, pages: LayerPages, group: DecodeGroup, scale: float) -> Tensor:
        """A query per sequence. Heads that share keys become queries of one head, so no key is repeated."""
        grouped = q.view(len(q), pages.kv.shape[3], -1, q.shape[2])
        mask = None if group.mask is None else group.mask.to(q.dtype)[:, None, None]
        parts = []
        for part in _parts(len(q), pages.token_bytes * group.longest, q.device):
            kv = _gather(pages, group.tables[part])
            if group.stale is not None:
                group.stale.clear(kv, part)
            k, v = kv[:, : group.longest].permute(2, 0, 3, 1, 4)
            seen = None if mask is None else mask[part]
            parts.append(F.scaled_dot_product_attention(grouped[part], k, v, seen, scale=scale))
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).flatten(1, 2)

    @staticmethod
    def _chunk(q: Tensor, pages: LayerPages, table: Tensor, context: int, scale: float) -> Tensor:
        """A chunk of a prompt: attention to itself and to its past, joined without a mask."""
        blocks, past = -(-context // pages.kv.shape[1]), context - len(q)
        kv = _gather(pages, table[None, :blocks])[0, :context]
        own = _attend(q, kv[past:], scale, causal=True)
        return own[0] if not past else _join(own, _attend(q, kv[:past], scale, causal=False))


def _parts(sequences: int, bytes_each: int, device: torch.device) -> list[slice]:
    """The ranges of sequences to gather together."""
    if device.type != "cpu":
        return [slice(0, sequences)]
    size = max(1, GATHERED_BYTES * torch.get_num_threads() // bytes_each)
    return [slice(start, min(start + size, sequences)) for start in range(0, sequences, size)]


def _gather(pages: LayerPages, tables: Tensor) -> Tensor:
    """A copy of the blocks, (sequences, tokens, 2, kv heads, head_dim)."""
    kv = pages.kv.index_select(0, tables.flatten())
    return kv.view(len(tables), -1, *kv.shape[2:])


def _attend(q: Tensor, kv: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Output (tokens, heads, head_dim) and the logarithm of the softmax's sum (tokens, heads), fp32. Heads
    that share keys form a batch over which the keys are expanded without a copy.
    """
    kv_heads = kv.shape[2]
    grouped = q.view(len(q), kv_heads, -1, q.shape[2]).permute(1, 2, 0, 3)
    k, v = (kv[:, i].transpose(0, 1)[:, None].expand(-1, grouped.shape[1], -1, -1) for i in (0, 1))
    if q.device.type == "cpu":
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, total, *_ = kernel(grouped, k, v, 0.0, causal, scale=scale)
    else:
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        out, total, *_ = kernel(grouped, k, v, None, True, 0.0, causal, scale=scale)
    total = total[..., : len(q)]
    return out.permute(2, 0, 1, 3).flatten(1, 2), total.permute(2, 0, 1).flatten(1).float()


def _join(own: tuple[Tensor, Tensor], past: tuple[Tensor, Tensor]) -> Tensor:
    """Attention over two disjoint sets of keys, from the attention over each."""
    share = torch.sigmoid(own[1] - past[1])[..., None].to(own[0].dtype)
    return torch.lerp(past[0], own[0], share)


class FlashAttention:
    """The flash-attn package: a single call for all sequences, without a copy of the pages."""

    name = "flash-attn"
    block_size = 256  # FlashAttention 2 takes pages of multiples of 256
    captures = True

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


class VarlenAttention:
    """torch's variable-length attention: a single call for all sequences, without a copy of the pages."""

    name = "varlen"
    block_size = 256
    captures = True

    def __init__(self) -> None:
        self._kernel: Any = importlib.import_module("torch.nn.attention.varlen").varlen_attn

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        out: Tensor = self._kernel(
            q,
            pages.keys,
            pages.values,
            plan.query_starts,
            None,
            max(plan.queries),
            max(plan.contexts),
            scale=scale,
            window_size=(-1, 0),
            enable_gqa=True,
            seqused_k=plan.lengths,
            block_table=plan.tables,
        )
        return out


PagedKernel = type[FlashAttention] | type[VarlenAttention]


def choose_attention(
    device: torch.device, dtype: torch.dtype, shape: AttentionShape
) -> tuple[Attention, str]:
    """The implementation for this machine, and why."""
    if device.type != "cuda":
        return GatheredAttention(), "torch's own kernel"
    if dtype is torch.float32:
        return GatheredAttention(), "flash attention knows no fp32"
    kinds: list[PagedKernel] = [VarlenAttention]
    if importlib.util.find_spec("flash_attn") is not None:
        kinds.insert(0, FlashAttention)
    failed: list[str] = []
    for kind in kinds:
        kernel = _proven(kind, device, dtype, shape)
        if not isinstance(kernel, str):
            return kernel, "; ".join([*failed, f"{kind.name} passed its test"])
        failed.append(f"{kind.name} failed its test: {kernel}")
    return GatheredAttention(), "; ".join(failed)


@dataclass(frozen=True)
class AttentionShape:
    """The shape of the model's attention."""

    heads: int
    kv_heads: int
    head_dim: int


def _proven(
    kind: PagedKernel, device: torch.device, dtype: torch.dtype, shape: AttentionShape
) -> Attention | str:
    """The kernel if it reads shuffled pages like gathered attention; else what went wrong."""
    try:
        kernel = kind()
        error = paging_error(kernel, device, dtype, shape)
    except Exception as failure:  # whatever a kernel without paging raises
        return f"{type(failure).__name__}: {str(failure)[:200]}"
    return kernel if error < PAGING_ERROR else f"off by {error:.2g}"


@torch.inference_mode()
def paging_error(kernel: Attention, device: torch.device, dtype: torch.dtype, shape: AttentionShape) -> float:
    """The largest difference from gathered attention for values of size 1, over a decode, a chunk with a past
    and a chunk without, in shuffled pages. Tokens beyond a context are NaN, so a kernel that lets them
    through is off by NaN.
    """
    random = torch.Generator().manual_seed(0)

    def noise(*size: int) -> Tensor:
        return torch.randn(size, generator=random).to(device, dtype)

    pages = LayerPages(noise(8, kernel.block_size, 2, shape.kv_heads, shape.head_dim))
    queries, size = (1, 5, 7), kernel.block_size
    contexts = (2 * size + 3, size + 9, 7)
    plan = AttentionPlan(
        queries,
        contexts,
        torch.tensor([[6, 1, 4], [3, 7, 0], [2, 0, 0]], dtype=torch.int32, device=device),
        torch.tensor([0, 1, 6, 13], dtype=torch.int32, device=device),
        torch.tensor([0, *contexts], dtype=torch.int32, device=device).cumsum(0, dtype=torch.int32),
        torch.tensor(contexts, dtype=torch.int32, device=device),
        size,
    )
    q, scale = noise(sum(queries), shape.heads, shape.head_dim), shape.head_dim**-0.5
    expected = GatheredAttention()(q.float(), LayerPages(pages.kv.float()), plan, scale)
    left = LayerPages(torch.full_like(pages.kv, torch.nan))
    for table, context in zip(plan.tables.tolist(), contexts, strict=True):
        for number, block in enumerate(table[: -(-context // size)]):
            seen = min(size, context - number * size)
            left.kv[block, :seen] = pages.kv[block, :seen]
    return float((kernel(q, left, plan, scale).float() - expected).abs().max())
