"""Sampling and the end of answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decoder_svc.engine.protocol import EngineLimits, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.errors import ContextTooLong, InvalidArgument, MaxNewTokensTooLarge
from tests.decoder.native_engine.harness import Question, answer, settings, text, tokens

WARM = Sampling(temperature=1.0, top_p=0.95, seed=7, max_new_tokens=20, ignore_eos=True)


async def test_equal_seeds_give_equal_tokens_whatever_runs_beside(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    asked = questions["moe"]
    alone = [tokens(await answer(engine, q, WARM)) for q in asked]
    company = [replace(WARM, seed=i, temperature=2.0) for i in range(len(asked))]
    calls = [answer(engine, q, WARM, f"same {i}") for i, q in enumerate(asked)]
    calls += [answer(engine, q, s, f"else {i}") for i, (q, s) in enumerate(zip(asked, company, strict=True))]
    together = [tokens(deltas) for deltas in await asyncio.gather(*calls)]
    assert together[: len(asked)] == alone


async def test_other_seeds_give_other_tokens(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][0]
    seeds = [replace(WARM, seed=seed) for seed in (1, 2, 3, None, None)]
    assert len({tokens(await answer(engine, q, s)) for s in seeds}) == 5


async def test_a_repetition_penalty_changes_the_answer_and_the_engine_lives(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q, plain = questions["moe"][0], Sampling(max_new_tokens=20, ignore_eos=True)
    said = tokens(await answer(engine, q, plain))
    penalised = tokens(await answer(engine, q, replace(plain, repetition_penalty=10.0)))
    assert len(set(penalised)) == len(penalised) == 20
    assert penalised != said
    assert tokens(await answer(engine, q, plain)) == said


async def test_length_ends_at_max_new_tokens(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    deltas = await answer(engine, questions["moe"][1], WARM)
    assert [d.finish_reason for d in deltas] == [None] * (len(deltas) - 1) + ["length"]
    counts = [len(d.token_ids) for d in deltas]  # more than one where this loop was slower than the engine
    assert [d.usage.output_tokens for d in deltas] == np.cumsum(counts).tolist()
    assert sum(counts) == 20
    assert deltas[-1].usage.prompt_tokens == len(questions["moe"][1].prompt.token_ids)


async def test_an_end_token_stops_unless_ignored(
    checkpoints: dict[str, Path], engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """An engine that takes the third greedy token for the end of text stops there."""
    q = questions["moe"][0]
    end = q.answer[2]
    assert end not in q.answer[:2]
    engine._loaded.checkpoint.eos_ids = frozenset([end])
    deltas = await answer(engine, q, Sampling(max_new_tokens=12))
    assert tokens(deltas) == q.answer[:3]
    assert (deltas[-1].finish_reason, deltas[-1].matched_stop) == ("stop", None)
    goes_on = await answer(engine, q, Sampling(max_new_tokens=12, ignore_eos=True))
    assert tokens(goes_on)[: len(q.answer)] == q.answer


async def test_a_stop_string_ends_the_answer_before_itself(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    for q in questions["moe"]:
        whole = text(await answer(engine, q, WARM))
        stop = whole[len(whole) // 2 :][:3]
        deltas = await answer(engine, q, replace(WARM, stop=("never so", stop)))
        assert text(deltas) == whole[: whole.index(stop)]
        assert (deltas[-1].finish_reason, deltas[-1].matched_stop) == ("stop", stop)


async def test_limits_refuse_and_name_the_numbers(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][0]
    with pytest.raises(MaxNewTokensTooLarge) as large:
        await answer(engine, q, Sampling(max_new_tokens=65))
    assert large.value.metadata == {"limit": "64", "max_new_tokens": "65"}
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"min_p": 2}, {"stop": ("",)},
                  {"repetition_penalty": 0}, {"seed": -1}, {"max_new_tokens": 0}, {"presence_penalty": 3},
                  {"frequency_penalty": -3},
                  {"temperature": float("nan")}):  # fmt: skip
        with pytest.raises(InvalidArgument) as refused:
            await answer(engine, q, replace(WARM, **wrong))
        assert [v.field for v in refused.value.violations] == [f"sampling.{n}" for n in wrong]
    assert await answer(engine, q, WARM)


async def test_the_context_limit_counts_prompt_and_answer(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][0]
    length = len(q.prompt.token_ids)
    limits = EngineLimits(max_context=length + 20, max_new_tokens=64)
    engine = NativeEngine(settings(checkpoints["moe"], limits=limits))
    await engine.start()
    assert len(tokens(await answer(engine, q, WARM))) == 20
    with pytest.raises(ContextTooLong) as long:
        await answer(engine, q, replace(WARM, max_new_tokens=21))
    assert long.value.metadata == {
        "limit": str(length + 20),
        "prompt_tokens": str(length),
        "max_new_tokens": "21",
    }
    await engine.close()
