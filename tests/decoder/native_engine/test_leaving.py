"""A request frees its resources however it ends, and so does an engine that ends."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decoder_svc.engine.protocol import Delta, EngineLimits, EngineRequest, RowChunk, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.errors import EngineBusy, EngineFailed, EngineUnavailable, InvalidArgument
from tests.decoder.native_engine.harness import (
    Question,
    answer,
    assert_equal_but_for_ties,
    collect,
    is_empty,
    layout_of,
    settings,
    stream,
    tokens,
    until,
)

LONG = Sampling(max_new_tokens=64, ignore_eos=True)
GREEDY = Sampling(max_new_tokens=12)


class CountedStream:
    """A row stream, eager like a call on the wire: it is open from the start until it is closed."""

    open = 0

    def __init__(self, source: AsyncIterator[RowChunk]) -> None:
        self._source = source
        self._closed = False
        CountedStream.open += 1

    def __aiter__(self) -> CountedStream:
        return self

    async def __anext__(self) -> RowChunk:
        return await anext(self._source)

    async def aclose(self) -> None:
        await self._source.aclose()
        CountedStream.open -= not self._closed
        self._closed = True


def call(engine: NativeEngine, q: Question, name: str) -> AsyncIterator[Delta]:
    layout = layout_of(q.rows[0]) if q.rows else None
    streams = [CountedStream(stream(rows, chunk=1)) for rows in q.rows]
    return engine.submit(EngineRequest(name, q.prompt, LONG), streams, layout)


async def leave_by_close(engine: NativeEngine, q: Question, name: str, after: int) -> None:
    deltas = call(engine, q, name)
    for _ in range(after + 1):
        await anext(deltas)
    await deltas.aclose()


async def leave_by_cancel(engine: NativeEngine, q: Question, name: str, after: int) -> None:
    task = asyncio.ensure_future(collect(call(engine, q, name)))
    await asyncio.sleep(after * 0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_by_abort(engine: NativeEngine, q: Question, name: str, after: int) -> None:
    deltas = call(engine, q, name)
    for _ in range(after + 2):
        await anext(deltas)
    engine.abort(name)
    *_, last = await collect(deltas)
    assert last.finish_reason == "abort"
    assert last.usage.output_tokens > after


async def test_hundreds_of_leaving_callers_leave_nothing_behind(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """Before the first row, between rows, in prefill, in decode; by close, by cancel, by abort."""
    chance = random.Random(5)
    ways = (leave_by_close, leave_by_cancel, leave_by_abort)
    for wave in range(12):
        await asyncio.gather(
            *(
                chance.choice(ways)(
                    engine, chance.choice(questions["moe"]), f"{wave}.{i}", chance.randrange(6)
                )
                for i in range(25)
            )
        )
    await until(lambda: is_empty(engine))
    assert CountedStream.open == 0
    assert not engine._calls
    for q in questions["moe"]:
        assert_equal_but_for_ties(tokens(await answer(engine, q, GREEDY)), q)


async def test_a_refused_request_closes_its_row_streams(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = next(q for q in questions["moe"] if q.rows)
    streams = [CountedStream(stream(rows)) for rows in q.rows]
    wrong = EngineRequest("refused", q.prompt, Sampling(top_p=0.0))
    with pytest.raises(InvalidArgument):
        await collect(engine.submit(wrong, streams, layout_of(q.rows[0])))
    assert CountedStream.open == 0


async def test_an_id_in_use_is_refused_and_its_owner_goes_on(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][0]
    first = call(engine, q, "same")
    begun = await anext(first)
    with pytest.raises(InvalidArgument, match="in use"):
        await anext(call(engine, q, "same"))
    assert len(tokens([begun, *await collect(first)])) == LONG.max_new_tokens


async def test_a_full_queue_says_when_to_come_back(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    limits = EngineLimits(max_context=1024, max_new_tokens=64, max_waiting=2)
    engine = NativeEngine(settings(checkpoints["moe"], max_running=1, limits=limits))
    await engine.start()
    q = questions["moe"][0]
    held = [asyncio.ensure_future(collect(call(engine, q, str(i)))) for i in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(EngineBusy) as refused:
        await anext(call(engine, q, "fourth"))
    assert refused.value.retry_after_s > 0
    assert refused.value.metadata["limit"] == "2"
    assert all(len(tokens(deltas)) == LONG.max_new_tokens for deltas in await asyncio.gather(*held))
    await engine.close()


async def test_the_first_delta_says_that_the_request_is_admitted(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    deltas = call(engine, questions["moe"][0], "admitted")
    first = await anext(deltas)
    assert (first.token_ids, first.text, first.finish_reason) == ((), "", None)
    await deltas.aclose()


async def test_unread_answers_hold_no_slots(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """Admission counts running and waiting requests. A complete answer waits only for its reader."""
    limits = EngineLimits(max_context=1024, max_new_tokens=64, max_waiting=1)
    engine = NativeEngine(settings(checkpoints["moe"], max_running=1, limits=limits))
    await engine.start()
    q = questions["moe"][0]
    for wave in range(3):
        unread = [call(engine, q, f"{wave}.{at}") for at in range(2)]
        for deltas in unread:
            await anext(deltas)
        with pytest.raises(EngineBusy):
            await anext(call(engine, q, "too many"))
        await until(lambda: all(held.computed for held in engine._calls.values()))
        assert len(tokens(await answer(engine, q, GREEDY))) == GREEDY.max_new_tokens
        assert [len(tokens(await collect(deltas))) for deltas in unread] == [LONG.max_new_tokens] * 2
    await engine.close()


async def test_the_load_counts_calls_from_their_admission_on_and_no_dummy(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """Also while the engine's thread has not read them from its inbox."""
    assert engine._loaded is not None
    gate, q = threading.Event(), questions["moe"][0]
    engine._loaded.worker._inbox.put(gate.wait)
    try:
        held = [call(engine, q, str(at)) for at in range(2)]
        rows = [stream(each) for each in q.rows]
        layout = layout_of(q.rows[0]) if q.rows else None
        dummy = engine.submit(EngineRequest("dummy", q.prompt, GREEDY, dummy=True), rows, layout)
        for deltas in (dummy, *held):
            await anext(deltas)
        assert (engine.load().running, engine.load().waiting) == (0, 2)
    finally:
        gate.set()
    assert len(tokens(await collect(dummy))) == GREEDY.max_new_tokens
    for deltas in held:
        await collect(deltas)
    assert (engine.load().running, engine.load().waiting) == (0, 0)


async def test_a_dead_engine_thread_fails_every_caller(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    engine = NativeEngine(settings(checkpoints["moe"], max_running=2))
    await engine.start()
    calls = [asyncio.ensure_future(collect(call(engine, q, str(i)))) for i, q in enumerate(questions["moe"])]
    await until(lambda: engine.load().running == 2)

    def fails(batch: object) -> None:
        raise RuntimeError("out of memory")

    engine._loaded.model.forward = fails
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {EngineFailed}
    assert not engine.healthy
    assert isinstance(await engine.died(), EngineFailed)
    with pytest.raises(EngineFailed):
        await anext(call(engine, questions["moe"][0], "later"))
    await engine.close()
    assert CountedStream.open == 0


async def test_closing_ends_running_calls_with_an_error(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    engine = NativeEngine(settings(checkpoints["moe"]))
    with pytest.raises(EngineUnavailable):
        await anext(call(engine, questions["moe"][0], "early"))
    await engine.start()
    running = asyncio.ensure_future(collect(call(engine, questions["moe"][0], "running")))
    await until(lambda: engine.load().running == 1)
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await running
    assert not engine.healthy
