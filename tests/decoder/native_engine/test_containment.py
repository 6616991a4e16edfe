"""A failure of a request ends only that request. A failure of all requests ends the engine, and every caller learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from decoder_svc.engine.protocol import EngineRequest, Prompt, ResponseFormat, RowChunk, Sampling, Usage
from decoder_svc.errors import RequestFailed, RowsInterrupted
from decoder_svc.model.batch import Batch, Output
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.sampling.state import SamplerState
from fovea.contract.errors import EngineFailed, EngineOutOfMemory, FoveaError
from tests.decoder.native_engine.harness import (
    Question,
    answer,
    collect,
    is_empty,
    layout_of,
    settings,
    stream,
    tokens,
    until,
)

GREEDY = Sampling(max_new_tokens=12)
LONG = Sampling(max_new_tokens=60, ignore_eos=True)
Ask = Callable[[str], Any]


class Panic(BaseException):
    """Like pyo3's panic exception, which is not an Exception."""


def text(length: int, token: int = 65) -> Prompt:
    ids = np.full(length, token, np.int32)
    return Prompt(ids, np.tile(np.arange(length, dtype=np.int32), (3, 1)), length)


async def ask(
    engine: NativeEngine, name: str, prompt: Prompt, sampling: Sampling = GREEDY
) -> tuple[int, ...]:
    return tokens(await collect(engine.submit(EngineRequest(name, prompt, sampling), ())))


def breaks(engine: NativeEngine, when: Callable[[Batch], bool], error: Callable[[], BaseException]) -> None:
    """Let the model raise for some batches."""
    model = engine._loaded.model
    forward = model.forward

    def fails(batch: Batch) -> Output:
        if when(batch):
            raise error()
        return forward(batch)

    model.forward = fails


def is_long(batch: Batch) -> bool:
    return max(batch.attention.queries) > 100


OUT_OF_MEMORY = (
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"
    ),
    MemoryError,
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["gpu", "torch", "python"])
async def test_a_long_prompt_out_of_memory_fails_alone(
    engine: NativeEngine, questions: dict[str, list[Question]], error: Callable[[], BaseException]
) -> None:
    asked = questions["moe"]
    before = [tokens(await answer(engine, q, GREEDY)) for q in asked]
    breaks(engine, is_long, error)
    beside = [asyncio.ensure_future(answer(engine, q, GREEDY, f"beside {i}")) for i, q in enumerate(asked)]
    with pytest.raises(EngineOutOfMemory) as failure:
        await ask(engine, "long", text(400))
    assert failure.value.code.name == "RESOURCE_EXHAUSTED"
    assert failure.value.metadata == {"prompt_tokens": "400"}
    assert [tokens(deltas) for deltas in await asyncio.gather(*beside)] == before
    assert engine.healthy
    assert await engine.probe(text(400)) == 0
    await until(lambda: is_empty(engine))


@pytest.mark.long
async def test_seeded_answers_do_not_change_where_a_step_is_computed_again(engine: NativeEngine) -> None:
    """Requests that share a step with a failing request run alone and sample the same tokens."""
    sampled = Sampling(max_new_tokens=40, temperature=1.0, seed=5, ignore_eos=True, repetition_penalty=1.3)
    before = [await ask(engine, f"before {i}", text(20 + i, 70 + i), sampled) for i in range(3)]
    breaks(engine, is_long, RuntimeError)
    calls = [
        asyncio.ensure_future(ask(engine, f"beside {i}", text(20 + i, 70 + i), sampled)) for i in range(3)
    ]
    failures = await asyncio.gather(*(ask(engine, f"long {i}", text(300 + i, 90 + i)) for i in range(3)),
                                    return_exceptions=True)  # fmt: skip
    assert {type(failure) for failure in failures} == {RequestFailed}
    assert await asyncio.gather(*calls) == before


async def failing_draw(engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    saw = SamplerState.saw

    def fails(self: SamplerState, token_id: int) -> None:
        if self.sampling.seed == 666:
            raise error
        saw(self, token_id)

    monkeypatch.setattr(SamplerState, "saw", fails)


async def failing_sampler(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    from decoder_svc.native_engine import worker

    sample = worker.sample

    def fails(logits: torch.Tensor, states: Any) -> list[int]:
        drawn = sample(logits, states)  # by then the logits of the others are changed, too
        if any(state.sampling.seed == 666 for state in states):
            raise error
        return drawn

    monkeypatch.setattr(worker, "sample", fails)


async def failing_delta(engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    usage = RequestState.usage

    def fails(self: RequestState) -> Usage:
        if self.request.sampling.seed == 666:
            raise error
        return usage(self)

    monkeypatch.setattr(RequestState, "usage", fails)


@pytest.mark.long
@pytest.mark.parametrize("where", [failing_draw, failing_sampler, failing_delta])
@pytest.mark.parametrize("error", [ValueError("a defect"), Panic("index out of bounds")])
async def test_a_request_whose_sampling_fails_ends_alone(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, where: Any, error: BaseException
) -> None:
    penalised = Sampling(max_new_tokens=30, repetition_penalty=1.5, ignore_eos=True)
    held = Sampling(max_new_tokens=30, response_format=ResponseFormat("regex", ("[a-e]{12}",)))
    knobs = [penalised, held, Sampling(max_new_tokens=30, ignore_eos=True)]
    before = [await ask(engine, f"before {i}", text(30 + i, 70 + i), s) for i, s in enumerate(knobs)]
    await where(engine, monkeypatch, error)
    bad = Sampling(max_new_tokens=30, seed=666, temperature=0.7)
    calls = [ask(engine, f"beside {i}", text(30 + i, 70 + i), s) for i, s in enumerate(knobs)]
    failures = [ask(engine, f"bad {i}", text(25, 80), bad) for i in range(2)]
    results = await asyncio.gather(*failures, *calls, return_exceptions=True)
    assert {type(result) for result in results[:2]} == {RequestFailed}
    assert results[2:] == before
    assert "defect" not in str(results[0])
    assert engine.healthy
    await until(lambda: is_empty(engine))


async def test_a_failed_copy_fails_the_requests_that_need_it(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """A second question about an image copies the block in which the image ends."""
    from dataclasses import replace

    size = engine._loaded.worker._scheduler.blocks.block_size
    q = next(q for q in questions["moe"] if q.rows and q.prompt.images[0].end % size)
    named = tuple(replace(image, key=bytes([n + 1])) for n, image in enumerate(q.prompt.images))
    prompt = replace(q.prompt, images=named)
    await answer(engine, Question(prompt, q.rows, q.answer, q.gaps), GREEDY)
    other = prompt.token_ids.copy()
    other[prompt.images[0].end] = 70
    second = Question(replace(prompt, token_ids=other), q.rows, (), ())
    unnamed = Question(replace(q.prompt, token_ids=other), q.rows, (), ())
    copy = engine._loaded.model.copy
    calls = []

    def fails(source: int, target: int, count: int) -> None:
        calls.append(source)
        if len(calls) == 1:
            raise MemoryError
        copy(source, target, count)

    engine._loaded.model.copy = fails
    with pytest.raises(EngineOutOfMemory):
        await answer(engine, second, GREEDY)
    assert calls, "nothing was copied: nothing was tested"
    again = tokens(await answer(engine, second, GREEDY))
    assert again == tokens(await answer(engine, unnamed, GREEDY))
    assert engine.healthy


@pytest.mark.long
@pytest.mark.parametrize("error", [RuntimeError("device lost"), MemoryError(), Panic("gone")])
async def test_if_every_step_fails_all_calls_get_engine_failed(
    engine: NativeEngine, error: BaseException
) -> None:
    calls = [asyncio.ensure_future(ask(engine, str(i), text(40 + i), LONG)) for i in range(4)]
    await until(lambda: engine.load().running == 4)
    breaks(engine, lambda batch: True, lambda: error)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {EngineFailed}
    assert not engine.healthy
    died = await asyncio.wait_for(engine.died(), 10)
    assert (died.reason, died.code.name) == ("ENGINE_FAILED", "UNAVAILABLE")
    with pytest.raises(EngineFailed):
        await ask(engine, "later", text(9))


async def test_corrupt_bookkeeping_ends_the_engine(engine: NativeEngine) -> None:
    call = asyncio.ensure_future(ask(engine, "one", text(40), LONG))
    await until(lambda: engine.load().running == 1)

    def fails(now: float) -> None:
        raise Panic

    engine._loaded.worker._scheduler.schedule = fails
    with pytest.raises(EngineFailed):
        await call
    assert (await engine.died()).reason == "ENGINE_FAILED"


async def cancelled(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    """Ends like a gRPC stream whose channel is closed: with CancelledError, without a cancellation."""
    async for chunk in stream(rows, chunk=1):
        yield chunk
        raise asyncio.CancelledError


async def of_another_type(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    yield RowChunk(0, 1, None)  # type: ignore[arg-type]


async def panicking(rows: torch.Tensor) -> AsyncIterator[RowChunk]:
    raise FoveaError("the other side is gone")
    yield


@pytest.mark.parametrize(
    ("source", "error"), [(cancelled, RowsInterrupted), (of_another_type, Exception), (panicking, FoveaError)]
)
@pytest.mark.parametrize("overlap", [True, False])
async def test_every_failure_of_a_row_stream_reaches_its_caller(
    checkpoints: dict[str, Path],
    questions: dict[str, list[Question]],
    source: Callable[[torch.Tensor], AsyncIterator[RowChunk]],
    error: type[BaseException],
    overlap: bool,
) -> None:
    q = next(q for q in questions["moe"] if len(q.rows) == 2)
    engine = NativeEngine(settings(checkpoints["moe"], overlap=overlap))
    await engine.start()
    try:
        for bad in (0, 1):
            sources = [source(rows) if i == bad else stream(rows) for i, rows in enumerate(q.rows)]
            request = EngineRequest("lying", q.prompt, GREEDY)
            with pytest.raises(error):
                async with asyncio.timeout(30):
                    await collect(engine.submit(request, sources, layout_of(q.rows[0])))
        await until(lambda: is_empty(engine))
        assert engine.healthy
    finally:
        await engine.close()
