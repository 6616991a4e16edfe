"""Attention over pages: one implementation is chosen at the start and used by every layer.

Each takes flat queries of many sequences, whose keys and values have been written to the pages
already, and answers in the same order. Nothing here knows requests, images or positions: rotation
happened before.
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

# On a CPU, a thread: what its cache still holds, and far from where malloc asks the kernel each time.
GATHERED_BYTES = 2 << 20
PAGING_ERROR = 0.03  # of values of size one: bf16 is off by 0.01, one key too few by more


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """Who attends to what in this step: made once, used by every layer.

    Sequence i has `queries[i]` tokens in the batch, the last of its `contexts[i]` tokens so far,
    which lie in the blocks of row i of `tables` (sequences, most blocks), int32. What blocks hold beyond
    a context may be left from anybody, NaN too: no implementation may let it through.
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
        """How many sequences at the front have a single query."""
        return next((i for i, n in enumerate(self.queries) if n != 1), len(self.queries))

    @cached_property
    def groups(self) -> tuple[DecodeGroup, ...]:
        """The decodes, with others of about the same context each, so that padding stays small."""
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
        # Of an unseen block a sequence gathers its own first: what that holds harms nobody else.
        tables = torch.where(unseen[:, ::size], tables[:, :1], tables)
        # Added to the scores, not a bool: that would be turned into this in every layer.
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
    """Gathered tokens behind the contexts of a group that others may have left, which the mask alone does not
    make harmless: 0 x NaN is NaN. The first `ends[i]` of `places` are those of i sequences.
    """

    places: Tensor
    ends: tuple[int, ...]
    width: int  # gathered tokens of a sequence

    @classmethod
    def of(cls, contexts: Sequence[int], tables: Tensor, size: int) -> _Stale:
        width = tables.shape[1] * size
        # A context within one block has what is left there gathered again for its unseen blocks.
        tails = [range(c, width if c < size else -(-c // size) * size) for c in contexts]
        places = [i * width + place for i, tail in enumerate(tails) for place in tail]
        ends = (0, *accumulate(map(len, tails)))
        return cls(torch.tensor(places, dtype=torch.int64, device=tables.device), ends, width)

    def clear(self, kv: Tensor, part: slice) -> None:
        """Zero them in what was gathered for the sequences of `part`."""
        places = self.places[self.ends[part.start] : self.ends[part.stop]]
        if part.start:
            places = places - part.start * self.width
        kv.flatten(0, 1).index_fill_(0, places, 0)


@dataclass(frozen=True, eq=False)
class DecodeGroup:
    """Decodes that are computed together: their places, the longest context, the blocks to gather, and what
    is added to the scores of each (sequences, longest), 0 or -inf; no mask where all see all.
    """

    rows: slice | Tensor
    longest: int
    tables: Tensor
    mask: Tensor | None = None
    stale: _Stale | None = None


class Attention(Protocol):
    name: str
    block_size: int  # that suits it
    captures: bool  # whether a CUDA graph may hold its decodes

    def __call__(self, q: Tensor, pages: LayerPages, plan: AttentionPlan, scale: float) -> Tensor:
        """(tokens, heads, head_dim) -> the same shape. Causal: a query sees itself and all before."""
        ...


class GatheredAttention:
    """torch's own kernels over gathered pages: a call for decodes of like length, two a prompt chunk."""

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
        """One query a sequence; heads that share keys are queries of one head, so nothing is repeated."""
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
        """A chunk of one prompt: what it sees of itself and all of its past, joined without a mask."""
        blocks, past = -(-context // pages.kv.shape[1]), context - len(q)
        kv = _gather(pages, table[None, :blocks])[0, :context]
        own = _attend(q, kv[past:], scale, causal=True)
        return own[0] if not past else _join(own, _attend(q, kv[:past], scale, causal=False))


def _parts(sequences: int, bytes_each: int, device: torch.device) -> list[slice]:
    """Which sequences to gather together."""
    if device.type != "cpu":
        return [slice(0, sequences)]
    size = max(1, GATHERED_BYTES * torch.get_num_threads() // bytes_each)
    return [slice(start, min(start + size, sequences)) for start in range(0, sequences, size)]


def _gather(pages: LayerPages, tables: Tensor) -> Tensor:
    """A copy of these blocks, (sequences, tokens, 2, kv heads, head_dim)."""
    kv = pages.kv.index_select(0, tables.flatten())
    return kv.view(len(tables), -1, *kv.shape[2:])


def _attend(q: Tensor, kv: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Output (tokens, heads, head_dim) and the logarithm of the softmax's sum (tokens, heads), fp32.

    Heads that share keys are a batch of their own whose keys have no stride.
    """
    kv_heads = kv.shape[2]
    grouped = q.view(len(q), kv_heads, -1, q.shape[2]).permute(1, 2, 0, 3)
    k, v = (kv[:, i].transpose(0, 1)[:, None].expand(-1, grouped.shape[1], -1, -1) for i in (0, 1))
    if q.device.type == "cpu":
        found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            grouped, k, v, 0.0, causal, scale=scale
        )
    else:
        found = torch.ops.aten._scaled_dot_product_efficient_attention(
            grouped, k, v, None, True, 0.0, causal, scale=scale
        )
    out, total = found[0], found[1][..., : len(q)]
    return out.permute(2, 0, 1, 3).flatten(1, 2), total.permute(2, 0, 1).flatten(1).float()


def _join(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """The softmax over two disjoint sets of keys from those over each."""
    share = torch.sigmoid(one[1] - other[1])[..., None].to(one[0].dtype)
    return torch.lerp(other[0], one[0], share)


class FlashAttention:
    """The flash-attn package: all sequences in one call, straight from the pages."""

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
    """torch's variable-length attention: all sequences in one call, straight from the pages."""

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


def choose_attention(
    device: torch.device, dtype: torch.dtype, shape: AttentionShape
) -> tuple[Attention, str]:
    """The implementation for this machine, and why."""
    if device.type != "cuda":
        return GatheredAttention(), "torch's own kernel"
    if dtype is torch.float32:
        return GatheredAttention(), "flash attention knows no fp32"
    kinds: list[type[FlashAttention] | type[VarlenAttention]] = [FlashAttention, VarlenAttention]
    if importlib.util.find_spec("flash_attn") is None:
        kinds.remove(FlashAttention)
    failed: list[str] = []
    for kind in kinds:
        found = _proven(kind, device, dtype, shape)
        if not isinstance(found, str):
            return found, "; ".join([*failed, f"{kind.name} passed its test"])
        failed.append(f"{kind.name} failed its test: {found}")
    return GatheredAttention(), "; ".join(failed)


@dataclass(frozen=True)
class AttentionShape:
    """Of the model's attention."""

    heads: int
    kv_heads: int
    head_dim: int


def _proven(
    kind: type[FlashAttention] | type[VarlenAttention],
    device: torch.device,
    dtype: torch.dtype,
    shape: AttentionShape,
) -> Attention | str:
    """The kernel if it reads shuffled pages as gathered attention does; else what went wrong."""
    try:
        kernel = kind()
        error = paging_error(kernel, device, dtype, shape)
    except Exception as failure:  # whatever a kernel that lacks paging raises
        return f"{type(failure).__name__}: {str(failure)[:200]}"
    return kernel if error < PAGING_ERROR else f"off by {error:.2g}"


@torch.inference_mode()
def paging_error(kernel: Attention, device: torch.device, dtype: torch.dtype, shape: AttentionShape) -> float:
    """The largest difference from gathered attention over a decode, a chunk with a past and one
    without, in pages out of order; values are of size one. What lies beyond a context is NaN for the kernel:
    one that lets it through is off by NaN.
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
        for place, block in enumerate(table[: -(-context // size)]):
            seen = min(size, context - place * size)
            left.kv[block, :seen] = pages.kv[block, :seen]
    return float((kernel(q, left, plan, scale).float() - expected).abs().max())
