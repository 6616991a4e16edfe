"""Structured output and log-probabilities from a running engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from decoder_svc.engine.protocol import Delta, EngineLimits, ResponseFormat, Sampling
from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.native_engine.engine import NativeEngine
from tests.decoder.native_engine.harness import (
    Question,
    Reference,
    answer,
    assert_equal_but_for_ties,
    is_empty,
    settings,
    text,
    tokens,
    until,
)

COLOURS = ("red", "reddish", "blue-green", "价格")
FORMATS = {
    "json_schema": json.dumps(
        {
            "type": "object",
            "properties": {
                "colour": {"enum": COLOURS},
                "count": {"type": "integer", "minimum": -5, "maximum": 12},
                "on": {"type": "boolean"},
            },
            "required": ["colour", "count"],
            "additionalProperties": False,
        }
    ),
    "regex": r"[a-f]{1,4}(-\d{2}){0,2}\n?",
    "choice": COLOURS,
}
HOT = Sampling(temperature=1.5, max_new_tokens=64)


def formats() -> list[ResponseFormat]:
    return [
        ResponseFormat(kind, (source,) if isinstance(source, str) else source)
        for kind, source in FORMATS.items()
    ]


def matches(wanted: ResponseFormat, said: str) -> bool:
    """Checks a match without the library that enforces it."""
    if wanted.kind == "choice":
        return said in wanted.source
    if wanted.kind == "regex":
        return re.fullmatch(wanted.source[0], said) is not None
    parsed = json.loads(said)
    return (
        {"colour", "count"} <= set(parsed) <= {"colour", "count", "on"}
        and parsed["colour"] in COLOURS
        and type(parsed["count"]) is int
        and -5 <= parsed["count"] <= 12
        and type(parsed.get("on", True)) is bool
    )


def logprobs_of(deltas: Sequence[Delta]) -> list[float]:
    return [value for delta in deltas for value in delta.logprobs]


async def test_preempted_answers_at_high_temperature_match_their_formats(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """Random weights and a high temperature. The KV cache holds little more than a request, so answers are preempted."""
    context = -(-max(len(q.prompt.token_ids) for q in questions["moe"][:3]) // 4) * 4 + HOT.max_new_tokens
    small = settings(
        checkpoints["moe"],
        kv_tokens=context,
        block_size=4,
        limits=EngineLimits(max_context=context, max_new_tokens=64),
    )
    engine = NativeEngine(small)
    await engine.start()
    calls = {
        (wanted, seed): answer(
            engine, q, replace(HOT, seed=seed, response_format=wanted), f"{wanted.kind} {seed}"
        )
        for seed in range(10)
        for wanted, q in zip(formats(), questions["moe"][:3], strict=True)
    }
    answers = dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))
    preemptions = engine.load().preemptions
    await until(lambda: is_empty(engine))
    await engine.close()
    assert preemptions > 0
    assert {deltas[-1].finish_reason for deltas in answers.values()} == {"stop"}
    assert [
        text(deltas) for (wanted, _), deltas in answers.items() if not matches(wanted, text(deltas))
    ] == []
    assert len({text(deltas) for deltas in answers.values()}) > 15


async def test_a_cut_answer_says_so(engine: NativeEngine, questions: dict[str, list[Question]]) -> None:
    q, wanted = questions["moe"][0], formats()[0]
    short = await answer(engine, q, Sampling(max_new_tokens=4, response_format=wanted))
    assert short[-1].finish_reason == "length"
    whole = await answer(engine, q, Sampling(max_new_tokens=64, response_format=wanted))
    assert text(whole).startswith(text(short))
    assert whole[-1].finish_reason == "stop"
    stopped = await answer(engine, q, Sampling(max_new_tokens=64, response_format=wanted, stop=("our",)))
    assert (stopped[-1].finish_reason, stopped[-1].matched_stop) == ("stop", "our")


@pytest.mark.parametrize(
    "wanted", [ResponseFormat("regex", ("a\U0001f600b",)), ResponseFormat("choice", ("été日本",))]
)
async def test_an_answer_that_is_cut_inside_a_character_is_the_beginning_of_a_match(
    engine: NativeEngine, questions: dict[str, list[Question]], wanted: ResponseFormat
) -> None:
    q, whole = questions["moe"][0], wanted.source[0]
    for n in range(1, 12):
        cut = text(await answer(engine, q, Sampling(max_new_tokens=n, response_format=wanted)))
        assert whole.startswith(cut), n


async def test_neighbours_with_formats_change_nothing(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """Greedy answers equal the reference while other requests use formats and log-probabilities."""
    plain = Sampling(max_new_tokens=12)
    asked = questions["moe"]
    calls = [answer(engine, q, plain, f"plain {at}") for at, q in enumerate(asked)]
    calls += [
        answer(engine, asked[0], replace(HOT, seed=at, response_format=wanted, logprobs=True), f"held {at}")
        for at, wanted in enumerate(formats() * 2)
    ]
    answers = await asyncio.gather(*calls)
    for q, deltas in zip(asked, answers, strict=False):
        assert_equal_but_for_ties(tokens(deltas), q)
        assert logprobs_of(deltas) == []


async def test_a_format_that_allows_the_answer_changes_no_token(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """The same answer, and the same log-probabilities, as without: they are the model's own."""
    for q in questions["moe"][:4]:
        free = Sampling(max_new_tokens=12, logprobs=True)
        said = await answer(
            engine, q, replace(free, response_format=ResponseFormat("regex", (r"[a-z ]{4,}",)))
        )
        again = replace(free, response_format=ResponseFormat("choice", (text(said), "something else")))
        held = await answer(engine, q, again)
        assert tokens(held) == tokens(said)
        assert logprobs_of(held) == pytest.approx(logprobs_of(said), abs=1e-5)


@pytest.mark.parametrize("wanted", [None, ResponseFormat("regex", (r"[0-9]{12,20}",))], ids=["free", "held"])
async def test_log_probabilities_are_those_of_a_plain_forward(
    engine: NativeEngine,
    questions: dict[str, list[Question]],
    references: dict[str, Reference],
    wanted: ResponseFormat | None,
) -> None:
    """Regardless of penalty, temperature, cuts and format."""
    q = questions["moe"][0]
    s = Sampling(1.5, 0.9, 40, 0.01, 1.3, seed=3, max_new_tokens=12, response_format=wanted, logprobs=True)
    deltas = await answer(engine, q, s)
    assert [len(delta.logprobs) for delta in deltas] == [len(delta.token_ids) for delta in deltas]
    ids = torch.tensor([[*q.prompt.token_ids.tolist(), *tokens(deltas)]])
    with torch.inference_mode():
        known = references["moe"].model(input_ids=ids).logits[0].log_softmax(-1)
    start = len(q.prompt.token_ids)
    expected = [float(known[place - 1, ids[0, place]]) for place in range(start, ids.shape[1])]
    assert logprobs_of(deltas) == pytest.approx(expected, abs=1e-4)


async def test_a_refused_format_uses_no_resources(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    with pytest.raises(FormatNotEnforceable):
        await answer(
            engine, questions["moe"][1], replace(HOT, response_format=ResponseFormat("regex", ("(",)))
        )
    assert is_empty(engine)


async def test_a_format_that_fails_in_the_middle_ends_its_own_answer_alone(
    engine: NativeEngine, questions: dict[str, list[Question]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ResponseFormat("choice", ("yellow",))
    spoilt = await engine._loaded.formats.compile(wanted, "acme")
    spoilt.matcher.consume_token(0)
    assert spoilt.matcher.is_error()

    async def compile(wanted: ResponseFormat, tenant: str) -> object:
        return spoilt

    monkeypatch.setattr(engine._loaded.formats, "compile", compile)
    q = questions["moe"][0]
    beside = asyncio.create_task(answer(engine, q, Sampling(max_new_tokens=12), "beside"))
    with pytest.raises(FormatNotEnforceable):
        await answer(engine, q, replace(HOT, response_format=wanted), "spoilt")
    assert_equal_but_for_ties(tokens(await beside), q)
    await until(lambda: is_empty(engine))
