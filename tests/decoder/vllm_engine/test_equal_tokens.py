"""vLLM, the native engine and transformers give equal tokens, for whole and for reduced images."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decoder_svc.engine.protocol import Sampling
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.vllm_engine.engine import VllmEngine
from tests.decoder.native_engine import harness
from tests.decoder.native_engine.harness import Question, Reference, answer, assert_equal_but_for_ties, tokens
from tests.decoder.native_engine.test_equal_tokens import drop_rows, reference_with_kept_rows

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
GREEDY = Sampling(max_new_tokens=12)
KINDS = ("moe", "dense")


async def said(
    engine: VllmEngine | NativeEngine, asked: list[Question], together: bool
) -> list[tuple[int, ...]]:
    calls = [answer(engine, q, GREEDY, f"request {i}") for i, q in enumerate(asked)]  # type: ignore[arg-type]
    answers = await asyncio.gather(*calls) if together else [await call for call in calls]
    return [tokens(deltas) for deltas in answers]


async def native(folder: Path, asked: list[Question]) -> list[tuple[int, ...]]:
    engine = NativeEngine(harness.settings(folder))
    await engine.start()
    try:
        return await said(engine, asked, together=True)
    finally:
        await engine.close()


async def ties(engine: VllmEngine, folder: Path, asked: list[Question], together: bool) -> int:
    """Compares vLLM with the reference, and with the native engine except at ties of the reference."""
    excused = 0
    for ours, theirs, q in zip(
        await said(engine, asked, together), await native(folder, asked), asked, strict=True
    ):
        tied = assert_equal_but_for_ties(ours, q) + assert_equal_but_for_ties(theirs, q)
        assert tied or ours == theirs
        excused += tied
    return excused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
async def test_greedy_tokens_for_0_1_2_and_5_images(
    engines: dict[str, VllmEngine],
    checkpoints: dict[str, Path],
    questions: dict[str, list[Question]],
    kind: str,
    together: bool,
) -> None:
    asked = questions[kind]
    assert sorted({len(q.rows) for q in asked}) == [0, 1, 2, 5]
    count = await ties(engines[kind], checkpoints[kind], asked, together)
    print(f"{kind}: {count} ties in {len(asked)} answers")


@pytest.mark.parametrize("kind", KINDS)
async def test_kept_rows_stand_at_their_original_positions(
    engines: dict[str, VllmEngine],
    checkpoints: dict[str, Path],
    references: dict[str, Reference],
    questions: dict[str, list[Question]],
    kind: str,
) -> None:
    asked = [drop_rows(q, seed) for seed, q in enumerate(questions[kind]) if q.rows]
    asked = [reference_with_kept_rows(references[kind], q) for q in asked]
    await ties(engines[kind], checkpoints[kind], asked, together=True)


async def test_the_tokens_depend_on_rows_levels_and_kept_indices(
    engine: VllmEngine, references: dict[str, Reference], questions: dict[str, list[Question]]
) -> None:
    """Guards the tests above: if the model ignored any of these, equality would prove nothing."""
    whole = next(q for q in questions["moe"] if len(q.rows) == 5)
    shallow = tuple(r.clone() for r in whole.rows)
    for rows in shallow:
        rows[:, 1:] = 0
    flipped = tuple(r.flip(0) for r in whole.rows)
    for rows in (shallow, flipped):
        assert tokens(await answer(engine, Question(whole.prompt, rows, (), ()), GREEDY)) != whole.answer  # type: ignore[arg-type]
    first, other = drop_rows(whole, 1), drop_rows(whole, 2)
    right = reference_with_kept_rows(references["moe"], first)
    moved = Question(other.prompt, first.rows, (), ())  # the rows of one reduction at the places of another
    assert tokens(await answer(engine, moved, GREEDY)) != right.answer  # type: ignore[arg-type]
