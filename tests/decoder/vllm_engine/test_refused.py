"""vLLM gets only checked requests, and a request frees its resources however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import torch

from decoder_svc.engine.protocol import EngineRequest, ImageSpan, Prompt, RowChunk, Sampling
from decoder_svc.vllm_engine.engine import VllmEngine
from fovea.contract.errors import (
    AnswerNotFinite,
    ContextTooLong,
    EngineFailed,
    FoveaError,
    InvalidArgument,
    RowsMismatch,
    RowsNotFinite,
)
from fovea.contract.rows import RowDtype, RowLayout
from tests.decoder.native_engine.harness import Question, answer, collect, layout_of, stream, tokens, until
from tests.decoder.vllm_engine.conftest import settings

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
GREEDY = Sampling(max_new_tokens=12)
LONG = Sampling(max_new_tokens=64, ignore_eos=True)


@pytest.fixture
def q(questions: dict[str, list[Question]]) -> Question:
    return next(q for q in questions["moe"] if len(q.rows) == 1)


async def refused(
    engine: VllmEngine, q: Question, prompt: Prompt, layout: RowLayout | None = None
) -> FoveaError:
    request = EngineRequest("refused", prompt, GREEDY)
    with pytest.raises(FoveaError) as caught:
        await collect(engine.submit(request, [stream(r) for r in q.rows], layout or layout_of(q.rows[0])))
    return caught.value


async def test_a_wrong_width_is_refused_and_vllm_lives(engine: VllmEngine, q: Question) -> None:
    wrong = RowLayout(64, 2, RowDtype.FP32)
    assert isinstance(await refused(engine, q, q.prompt, wrong), RowsMismatch)
    assert tokens(await answer(engine, q, GREEDY)) == q.answer  # type: ignore[arg-type]


async def test_missing_rows_are_refused(engine: VllmEngine, q: Question) -> None:
    short = Question(q.prompt, (q.rows[0][:-1],), (), ())
    assert isinstance(await refused(engine, short, q.prompt), RowsMismatch)


async def test_rows_that_are_not_finite_are_refused(engine: VllmEngine, q: Question) -> None:
    rows = q.rows[0].clone()
    rows[-1, 1, 2] = torch.nan
    bad = Question(q.prompt, (rows,), (), ())
    assert isinstance(await refused(engine, bad, q.prompt), RowsNotFinite)
    assert tokens(await answer(engine, q, GREEDY)) == q.answer  # type: ignore[arg-type]


async def test_an_answer_from_values_that_are_not_finite_is_refused(
    checkpoints: dict[str, Path], q: Question
) -> None:
    """Rows that are finite as they come, and beyond the range once they are added up. An engine of its own: on
    a CPU vLLM's attention lets what lies in used pages through, so that others fail too until it is started anew.
    """
    engine = VllmEngine(settings(checkpoints["moe"]))
    await engine.start()
    try:
        loud = Question(q.prompt, (torch.full_like(q.rows[0], 3e38),), (), ())
        assert isinstance(await refused(engine, loud, q.prompt), AnswerNotFinite)
        assert engine.healthy
    finally:
        await engine.close()


@pytest.mark.parametrize("grid", [(2, 2, 6), (1, 3, 8), (1, 2, 2), (1, 64, 64)])
async def test_a_grid_that_is_not_that_of_the_rows_is_refused(
    engine: VllmEngine, q: Question, grid: tuple[int, int, int]
) -> None:
    p, span = q.prompt, q.prompt.images[0]
    assert grid != span.grid_thw
    image = ImageSpan(span.start, grid, span.rows)
    wrong = Prompt(p.token_ids, p.positions, p.next_position, (image,))
    assert isinstance(await refused(engine, q, wrong), RowsMismatch)


@pytest.mark.parametrize("kept", [[], [0, 0], [1, 0], [-1, 0], [0, 10**6]])
async def test_impossible_kept_indices_are_refused(engine: VllmEngine, q: Question, kept: list[int]) -> None:
    p, span = q.prompt, q.prompt.images[0]
    full = np.arange(span.rows, dtype=np.int32)
    places = np.concatenate([full[: span.rows - len(kept)], np.array(kept, np.int32)]) if kept else full[:-1]
    image = ImageSpan(span.start, span.grid_thw, span.rows, places)
    assert isinstance(
        await refused(engine, q, Prompt(p.token_ids, p.positions, p.next_position, (image,))), RowsMismatch
    )


async def test_positions_that_vllm_would_not_use_are_refused(engine: VllmEngine, q: Question) -> None:
    p = q.prompt
    for wrong in (
        Prompt(p.token_ids, p.positions + 1, p.next_position + 1, p.images),
        Prompt(p.token_ids, p.positions, p.next_position + 1, p.images),
    ):
        assert isinstance(await refused(engine, q, wrong), InvalidArgument)


async def test_prompts_beyond_the_context_are_refused(engine: VllmEngine) -> None:
    ids = np.full(1020, 65, np.int32)
    line = np.broadcast_to(np.arange(1020, dtype=np.int32), (3, 1020))
    with pytest.raises(ContextTooLong):
        await collect(engine.submit(EngineRequest("long", Prompt(ids, line, 1020), GREEDY), []))


async def test_leaving_early_frees_the_request_in_vllm(engine: VllmEngine, q: Question) -> None:
    request = EngineRequest("left", q.prompt, LONG)
    async with aclosing(engine.submit(request, [stream(q.rows[0])], layout_of(q.rows[0]))) as deltas:
        assert not (await anext(deltas)).token_ids, "the first delta says that the request is admitted"
        assert (await anext(deltas)).token_ids
        assert engine.load().running + engine.load().waiting == 1
    assert engine.load().running + engine.load().waiting == 0
    await until(lambda: engine._llm.output_processor.get_num_unfinished_requests() == 0)


async def test_abort_from_outside_ends_the_stream(engine: VllmEngine, q: Question) -> None:
    request = EngineRequest("aborted", q.prompt, LONG)
    deltas = []
    async for delta in engine.submit(request, [stream(q.rows[0])], layout_of(q.rows[0])):
        deltas.append(delta)
        engine.abort("aborted")
    assert deltas[-1].finish_reason == "abort"
    assert len(tokens(deltas)) < 64


async def test_a_failing_row_stream_is_passed_on_and_the_others_closed(
    engine: VllmEngine, questions: dict[str, list[Question]]
) -> None:
    class Lost(Exception):
        pass

    closed = asyncio.Event()

    async def failing() -> AsyncIterator[RowChunk]:
        await asyncio.sleep(0)
        raise Lost
        yield

    async def endless() -> AsyncIterator[RowChunk]:
        try:
            await asyncio.Event().wait()
            yield RowChunk(0, 0, b"")
        finally:
            closed.set()

    two = next(q for q in questions["moe"] if len(q.rows) == 2)
    request = EngineRequest("failing", two.prompt, GREEDY)
    with pytest.raises(Lost):
        await collect(engine.submit(request, [failing(), endless()], layout_of(two.rows[0])))
    assert closed.is_set()


async def test_the_death_of_vllm_fails_waiting_calls(checkpoints: dict[str, Path], q: Question) -> None:
    engine = VllmEngine(settings(checkpoints["moe"]))
    await engine.start()
    try:
        request = EngineRequest("orphan", q.prompt, LONG)
        deltas = engine.submit(request, [stream(q.rows[0])], layout_of(q.rows[0]))
        await anext(deltas)
        for process in engine._llm.engine_core.resources.engine_manager.processes:
            process.kill()
        with pytest.raises(EngineFailed):
            await collect(deltas)
        assert not engine.healthy
        assert isinstance(await asyncio.wait_for(engine.died(), 30), EngineFailed)
        with pytest.raises(EngineFailed):
            await answer(engine, q, GREEDY)  # type: ignore[arg-type]
    finally:
        await engine.close()
