"""Paged attention equals dense causal attention, whatever the pages hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from decoder_svc.model.attention import (
    PAGING_ERROR,
    AttentionPlan,
    AttentionShape,
    FlashAttention,
    GatheredAttention,
    _parts,
    choose_attention,
    paging_error,
)
from decoder_svc.model.pages import LayerPages, allocate_pages

HEADS, KV_HEADS, WIDTH = 8, 2, 64
SHAPE = AttentionShape(HEADS, KV_HEADS, WIDTH)
# (queries, context) of the sequences of a step: decodes first, then prompts with and without a past.
STEPS = (
    ((1, 1),),
    ((1, 9), (1, 300), (1, 16)),
    ((1, 33), (1, 5), (7, 40), (20, 20), (1, 3)),
    ((5, 260), (3, 3)),
)


def step(
    sizes: Sequence[tuple[int, int]], size: int, dtype: torch.dtype, device: str
) -> tuple[torch.Tensor, LayerPages, AttentionPlan, torch.Tensor]:
    """Random queries, pages in shuffled blocks, the plan; and the answer by dense attention in fp64."""
    shuffled = np.random.default_rng(0).permutation(64).tolist()
    (pages,) = allocate_pages(64, size, KV_HEADS, WIDTH, dtype, [torch.device(device)])
    most = max(-(-context // size) for _, context in sizes)
    tables = torch.zeros(len(sizes), most, dtype=torch.int32)
    queries, expected = [], []
    for row, (n, context) in zip(tables, sizes, strict=True):
        blocks = -(-context // size)
        row[:blocks] = torch.tensor([shuffled.pop() for _ in range(blocks)])
        places = torch.arange(context)
        slots = row[places // size].long() * size + places % size
        q, k, v = (torch.randn(m, h, WIDTH).to(dtype)
                   for m, h in ((n, HEADS), (context, KV_HEADS), (context, KV_HEADS)))  # fmt: skip
        pages.write(slots.to(device), torch.stack([k, v], 1).to(device))
        queries.append(q)
        expected.append(dense(q.double(), k.double(), v.double()))
    plan = AttentionPlan(
        tuple(n for n, _ in sizes),
        tuple(context for _, context in sizes),
        tables,
        torch.tensor([0, *np.cumsum([n for n, _ in sizes])], dtype=torch.int32),
        torch.tensor([0, *np.cumsum([c for _, c in sizes])], dtype=torch.int32),
        torch.tensor([c for _, c in sizes], dtype=torch.int32),
        size,
    )
    return torch.cat(queries).to(device), pages, plan.to(torch.device(device)), torch.cat(expected)


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / WIDTH**0.5
    hidden = torch.ones(len(q), len(k), dtype=torch.bool).triu(len(k) - len(q) + 1)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize("sizes", STEPS)
@pytest.mark.parametrize("block_size", [1, 16])
def test_sdpa_over_pages_is_dense_attention(sizes: tuple[tuple[int, int], ...], block_size: int) -> None:
    sizes = tuple(s for s in sizes if block_size > 1 or s[1] < 20) or ((1, 1),)
    q, pages, plan, expected = step(sizes, block_size, torch.float32, "cpu")
    out = GatheredAttention()(q, pages, plan, WIDTH**-0.5)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)  # fp32 rounding


def poisoned(pages: LayerPages, plan: AttentionPlan, value: float) -> LayerPages:
    """The same pages, with `value` wherever no sequence of the plan has a token."""
    left, size = torch.full_like(pages.kv, value), pages.kv.shape[1]
    for table, context in zip(plan.tables.tolist(), plan.contexts, strict=True):
        for place in range(context):
            block = table[place // size]
            left[block, place % size] = pages.kv[block, place % size]
    return LayerPages(left)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("gathered_bytes", [1, 60_000, 2 << 20], ids=["one by one", "two by two", "together"])
@pytest.mark.parametrize("sizes", [*STEPS, tuple((1, n) for n in (1, 2, 15, 16, 17, 30, 31, 32, 33, 60, 64))])
def test_positions_after_the_context_contribute_nothing(
    sizes: tuple[tuple[int, int], ...], gathered_bytes: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stale tails of blocks, blocks of a table beyond its context, and targets of padding."""
    monkeypatch.setattr(
        "decoder_svc.model.attention.GATHERED_BYTES", gathered_bytes // torch.get_num_threads()
    )
    q, pages, plan, expected = step(sizes, 16, torch.float32, "cpu")
    out = GatheredAttention()(q, poisoned(pages, plan, value), plan, WIDTH**-0.5)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)  # fp32 rounding


def test_a_context_of_nan_affects_only_itself() -> None:
    sizes = tuple((1, n) for n in (5, 40, 33, 21))
    q, pages, plan, expected = step(sizes, 16, torch.float32, "cpu")
    for block in plan.tables[1, :3].tolist():
        pages.kv[block] = torch.nan
    out = GatheredAttention()(q, pages, plan, WIDTH**-0.5)
    assert out[1].isnan().all()
    others = [0, 2, 3]
    torch.testing.assert_close(out[others].double(), expected[others], atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sizes", STEPS)
def test_positions_after_the_context_contribute_nothing_on_a_gpu(
    sizes: tuple[tuple[int, int], ...],
) -> None:
    attention, _ = choose_attention(torch.device("cuda"), torch.bfloat16, SHAPE)
    q, pages, plan, expected = step(sizes, attention.block_size, torch.bfloat16, "cuda")
    out = attention(q, poisoned(pages, plan, torch.nan), plan, WIDTH**-0.5)
    torch.testing.assert_close(out.double().cpu(), expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("gathered_bytes", [1, 400_000])
def test_decodes_are_gathered_in_parts(gathered_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 164 KB each: a single gather each, and two with a remainder."""
    monkeypatch.setattr(
        "decoder_svc.model.attention.GATHERED_BYTES", gathered_bytes // torch.get_num_threads()
    )
    q, pages, plan, expected = step(((1, 90), (1, 160), (1, 77)), 16, torch.float32, "cpu")
    out = GatheredAttention()(q, pages, plan, WIDTH**-0.5)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)  # fp32 rounding


def test_gather_parts_fit_the_limit_of_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoder_svc.model.attention.GATHERED_BYTES", 100)
    together = 100 * torch.get_num_threads()
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert _parts(5, together // 2, cpu) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert _parts(2, together // 2, cpu) == [slice(0, 2)]
    assert _parts(3, 2 * together, cpu) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert _parts(5, together, cuda) == [slice(0, 5)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sizes", STEPS)
def test_the_attention_chosen_on_a_gpu_equals_dense_attention(sizes: tuple[tuple[int, int], ...]) -> None:
    attention, _ = choose_attention(torch.device("cuda"), torch.bfloat16, SHAPE)
    q, pages, plan, expected = step(sizes, attention.block_size, torch.bfloat16, "cuda")
    out = attention(q, pages, plan, WIDTH**-0.5)
    # bf16 keeps 8 bits: sums of about one are right to 2^-7.
    torch.testing.assert_close(out.double().cpu(), expected, atol=2e-2, rtol=2e-2)


def test_flash_attention_is_not_chosen_if_it_cannot_run() -> None:
    attention, _ = choose_attention(torch.device("cpu"), torch.bfloat16, SHAPE)
    assert isinstance(attention, GatheredAttention)
    assert FlashAttention.block_size % 256 == 0  # what FlashAttention 2 asks of pages


def test_the_paged_attention_check_detects_wrong_results() -> None:
    """The check selects the kernel on a GPU. It rejects kernels that ignore the tables or the end of a context."""

    class Large(GatheredAttention):
        block_size = 256

    class WrongTables(Large):
        def __call__(self, q, pages, plan, scale):
            return super().__call__(q, pages, replace(plan, tables=plan.tables.sort(-1).values), scale)

    class OneTooFew(Large):
        def __call__(self, q, pages, plan, scale):
            fewer = tuple(max(n, c - 1) for n, c in zip(plan.queries, plan.contexts, strict=True))
            return super().__call__(q, pages, replace(plan, contexts=fewer), scale)

    class Masked(Large):
        """Reads whole blocks and masks scores beyond a context. NaN survives such a mask."""

        def __call__(self, q, pages, plan, scale):
            out, start = [], 0
            for n, context, table in zip(plan.queries, plan.contexts, plan.tables.long(), strict=True):
                k, v = pages.kv[table].flatten(0, 1).repeat_interleave(HEADS // KV_HEADS, 2).unbind(1)
                scores = torch.einsum("qhd,khd->hqk", q[start : start + n] * scale, k)
                seen = torch.arange(len(k)) < torch.arange(context - n + 1, context + 1)[:, None]
                scores = scores + torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
                out.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
                start += n
            return torch.cat(out)

    def error(kernel: Large) -> float:
        return paging_error(kernel, torch.device("cpu"), torch.float32, SHAPE)

    assert error(Large()) < 1e-5
    assert not any(error(kind()) <= PAGING_ERROR for kind in (WrongTables, OneTooFew, Masked))
