"""Rows must match the prompt. A request whose rows fail fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import torch

from decoder_svc.engine.protocol import EngineRequest, Prompt, RowChunk, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.errors import ImagesMismatch, RowsMismatch
from fovea.contract.rows import RowDtype, RowLayout
from tests.decoder.native_engine.harness import (
    Question,
    answer,
    assert_equal_but_for_ties,
    collect,
    is_empty,
    layout_of,
    stream,
    tokens,
    until,
)

GREEDY = Sampling(max_new_tokens=12)
Source = Callable[[torch.Tensor], AsyncIterator[RowChunk]]


class EncoderGone(Exception):
    """An error that a row source may raise and that the engine does not know."""


async def one_missing(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    async for chunk in stream(rows[:-1]):
        yield chunk


async def one_too_many(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    async for chunk in stream(torch.cat([rows, rows[:1]])):
        yield chunk


async def out_of_order(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    chunks = [chunk async for chunk in stream(rows, chunk=1)]
    for chunk in reversed(chunks):
        yield chunk


async def bytes_cut_short(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    async for chunk in stream(rows):
        yield replace(chunk, data=chunk.data[:-4])


async def none_at_all(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    return
    yield


async def breaks_midway(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    async for chunk in stream(rows, chunk=1):
        yield chunk
        raise EncoderGone("the encoder went away")


async def breaks_after_the_last_row(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    async for chunk in stream(rows):
        yield chunk
    raise EncoderGone("the digest in the summary did not fit")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (one_missing, RowsMismatch),
        (one_too_many, RowsMismatch),
        (out_of_order, RowsMismatch),
        (bytes_cut_short, RowsMismatch),
        (none_at_all, RowsMismatch),
        (breaks_midway, EncoderGone),
        (breaks_after_the_last_row, EncoderGone),
    ],
)
async def test_invalid_rows_fail_only_their_request(
    engine: NativeEngine, questions: dict[str, list[Question]], source: Source, error: type[Exception]
) -> None:
    asked = questions["moe"]
    bad = two_images(asked)
    streams = [stream(bad.rows[0]), source(bad.rows[1])]
    request = EngineRequest("bad", bad.prompt, GREEDY)
    failing = collect(engine.submit(request, streams, layout_of(bad.rows[0])))
    others = (answer(engine, q, GREEDY, f"good {i}") for i, q in enumerate(asked))
    first, *rest = await asyncio.gather(failing, *others, return_exceptions=True)
    assert type(first) is error
    for got, question in zip(rest, asked, strict=True):
        assert_equal_but_for_ties(tokens(got), question)
    await until(lambda: is_empty(engine))
    assert engine.healthy


async def test_no_token_precedes_the_end_of_its_row_stream(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """All rows have arrived, but the stream could still fail, so no token may be emitted yet."""
    q = next(q for q in questions["moe"] if len(q.rows) == 1)
    may_end = asyncio.Event()

    async def lingering() -> AsyncIterator[RowChunk]:
        async for chunk in stream(q.rows[0]):
            yield chunk
        await may_end.wait()

    deltas = engine.submit(EngineRequest("slow", q.prompt, GREEDY), [lingering()], layout_of(q.rows[0]))
    call = asyncio.ensure_future(collect(deltas))
    await until(lambda: engine.load().running == 1)
    done, _ = await asyncio.wait([call], timeout=0.2)
    assert not done
    may_end.set()
    assert_equal_but_for_ties(tokens(await call), q)


async def test_prefill_starts_with_the_rows_that_have_arrived(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """While the second image is arriving, prefill runs up to its last row that has arrived."""
    q = two_images(questions["moe"])
    may_go_on = asyncio.Event()

    async def held_up() -> AsyncIterator[RowChunk]:
        async for chunk in stream(q.rows[1], chunk=1):
            yield chunk
            await may_go_on.wait()

    request = EngineRequest("overlap", q.prompt, GREEDY)
    sources = [stream(q.rows[0]), held_up()]
    call = asyncio.ensure_future(collect(engine.submit(request, sources, layout_of(q.rows[0]))))
    arrived = q.prompt.images[1].start + 1
    await until(lambda: any(s.computed == arrived and s.clock.blocked_since for s in running(engine)))
    may_go_on.set()
    deltas = await call
    assert_equal_but_for_ties(tokens(deltas), q)
    t = deltas[-1].timings
    assert t.rows_ms > 0
    assert t.queue_ms + t.rows_ms + t.prefill_ms == pytest.approx(t.ttft_ms)


async def test_requests_whose_rows_are_late_hold_no_slot_and_no_block(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    text_only, with_image = questions["moe"][:2]
    may_go_on = asyncio.Event()

    async def late() -> AsyncIterator[RowChunk]:
        await may_go_on.wait()
        async for chunk in stream(with_image.rows[0]):
            yield chunk

    request = EngineRequest("late", with_image.prompt, GREEDY)
    layout = layout_of(with_image.rows[0])
    call = asyncio.ensure_future(collect(engine.submit(request, [late()], layout)))
    await until(lambda: engine.load().waiting == 1)
    assert_equal_but_for_ties(tokens(await answer(engine, text_only, GREEDY)), text_only)
    load = engine.load()
    assert (load.running, load.waiting, load.kv_used_blocks) == (0, 1, 0)
    may_go_on.set()
    assert_equal_but_for_ties(tokens(await call), with_image)


async def test_waiting_for_rows_and_every_layer_are_progress(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """Liveness must take neither a slow encoder nor a long step for a model that hangs."""
    text_only, with_image = questions["moe"][:2]
    assert engine._loaded is not None
    before = engine.load().steps
    await answer(engine, text_only, Sampling(max_new_tokens=1))
    assert engine.load().steps - before >= len(engine._loaded.model.devices) > 1
    before, may_go_on = engine.load().steps, asyncio.Event()

    async def late() -> AsyncIterator[RowChunk]:
        await may_go_on.wait()
        async for chunk in stream(with_image.rows[0]):
            yield chunk

    request = EngineRequest("late", with_image.prompt, GREEDY)
    call = asyncio.ensure_future(collect(engine.submit(request, [late()], layout_of(with_image.rows[0]))))
    await until(lambda: engine.load().steps > before)
    engine._loaded.worker.wake()
    await until(lambda: engine.load().steps > before + 1)
    may_go_on.set()
    await call


async def test_another_shape_of_rows_is_refused(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = next(q for q in questions["moe"] if len(q.rows) == 1)
    request, fits = EngineRequest("shape", q.prompt, GREEDY), layout_of(q.rows[0])
    for wrong in (
        RowLayout(fits.width * 2, fits.levels, RowDtype.FP32),
        RowLayout(fits.width, fits.levels - 1, RowDtype.FP32),
        None,
    ):
        with pytest.raises(RowsMismatch):
            await collect(engine.submit(request, [stream(q.rows[0])], wrong))


async def test_the_number_of_streams_must_equal_the_number_of_images(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = next(q for q in questions["moe"] if len(q.rows) == 1)
    request, layout = EngineRequest("count", q.prompt, GREEDY), layout_of(q.rows[0])
    for streams in ([], [stream(q.rows[0]), stream(q.rows[0])]):
        with pytest.raises(ImagesMismatch):
            await collect(engine.submit(request, streams, layout))


async def test_a_placeholder_without_an_image_is_refused(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = next(q for q in questions["moe"] if len(q.rows) == 1)
    p = q.prompt
    span = p.images[0]
    forgotten = Prompt(p.token_ids, p.positions, p.next_position, ())
    moved = replace(p, images=(replace(span, start=span.start - 1),))
    short = replace(p, images=(replace(span, rows=span.rows - 1),))
    for prompt, streams in ((forgotten, []), (moved, [stream(q.rows[0])]), (short, [stream(q.rows[0])])):
        request = EngineRequest("hole", prompt, GREEDY)
        with pytest.raises(RowsMismatch):
            await collect(engine.submit(request, streams, layout_of(q.rows[0])))


def running(engine: NativeEngine) -> list:
    return engine._loaded.worker._scheduler.running


def two_images(asked: list[Question]) -> Question:
    return next(q for q in asked if len(q.rows) == 2 and len(q.rows[1]) > 2)
