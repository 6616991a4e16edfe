"""What a request says of sampling does in vLLM what it does in the native engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decoder_svc.engine.protocol import (
    AnswerRules,
    CallableTool,
    Delta,
    EngineRequest,
    ResponseFormat,
    Sampling,
)
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.vllm_engine.engine import VllmEngine
from tests.decoder.native_engine import harness
from tests.decoder.native_engine.harness import Question, collect, layout_of, stream, text, tokens

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
LONG = Sampling(max_new_tokens=48, ignore_eos=True)
CUT = Sampling(max_new_tokens=60)
SHORT_ARRAY = '{"type": "array", "items": {"type": "boolean"}, "maxItems": 3}'
PERSON = (
    '{"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 120},'
    ' "name": {"enum": ["Ann", "Bo"]}}, "required": ["age", "name"], "additionalProperties": false}'
)
LOOK = CallableTool("look", PERSON, "tools[0].parameters")
WAIT = CallableTool("wait", "", "tools[1].parameters")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def native(checkpoints: dict[str, Path]) -> AsyncIterator[NativeEngine]:
    engine = NativeEngine(harness.settings(checkpoints["moe"]))
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
def asked(questions: dict[str, list[Question]]) -> list[Question]:
    """With 0, 1 and 2 images."""
    return [q for q in questions["moe"] if len(q.rows) < 5]


async def answer(
    engine: VllmEngine | NativeEngine, q: Question, sampling: Sampling, rules: AnswerRules | None = None
) -> list[Delta]:
    request = EngineRequest("one", q.prompt, sampling, rules=rules)
    layout = layout_of(q.rows[0]) if q.rows else None
    return await collect(engine.submit(request, [stream(r) for r in q.rows], layout))


def joined(deltas: Sequence[Delta], field: str) -> list[Any]:
    """A value a token. A busy engine puts several tokens in a delta."""
    return [value for delta in deltas for value in getattr(delta, field)]


@pytest.mark.parametrize(
    "changes",
    [
        {"presence_penalty": 1.5},
        {"frequency_penalty": 0.7},
        {"repetition_penalty": 1.3},
        {"presence_penalty": -2.0, "frequency_penalty": 2.0, "repetition_penalty": 0.8},
        {"logit_bias": {65: 100.0}},
        {"logit_bias": dict.fromkeys(range(0, 300, 2), -100.0)},
        {"logit_bias": dict.fromkeys(range(100, 200), 3.0), "frequency_penalty": 1.0, "repetition_penalty": 1.1},
    ],
    ids=["presence", "frequency", "repetition", "all three", "bias", "half of the bytes", "bias and penalties"],
)  # fmt: skip
async def test_penalties_and_biases(
    engine: VllmEngine, native: NativeEngine, asked: Sequence[Question], changes: dict[str, object]
) -> None:
    bent, changed = replace(LONG, **changes), 0  # type: ignore[arg-type]
    for q in asked:
        ours = tokens(await answer(engine, q, bent))
        assert ours == tokens(await answer(native, q, bent))
        changed += ours != tokens(await answer(native, q, LONG))
    assert changed > len(asked) // 2, "without an effect, equality proves nothing"


@pytest.mark.parametrize(
    "changes", [{}, {"presence_penalty": 1.5, "logit_bias": {65: 5.0}}], ids=["plain", "bent"]
)
async def test_the_most_likely_tokens(
    engine: VllmEngine, native: NativeEngine, asked: Sequence[Question], changes: dict[str, object]
) -> None:
    """Those of the model, before penalties and biases."""
    sampling = replace(CUT, logprobs=True, top_logprobs=5, **changes)  # type: ignore[arg-type]
    for q in asked:
        ours, theirs = [await answer(each, q, sampling) for each in (engine, native)]
        assert tokens(ours) == tokens(theirs)
        assert joined(ours, "token_bytes") == joined(theirs, "token_bytes")
        assert joined(ours, "logprobs") == pytest.approx(joined(theirs, "logprobs"), abs=1e-4)
        for top, expected in zip(joined(ours, "top_logprobs"), joined(theirs, "top_logprobs"), strict=True):
            assert [each.token_id for each in top] == [each.token_id for each in expected]
            assert [each.logprob for each in top] == pytest.approx([e.logprob for e in expected], abs=1e-4)


@pytest.mark.parametrize(
    "format",
    [
        ResponseFormat("choice", ("yes", "no", "perhaps")),
        ResponseFormat("regex", ("[0-9]{3}-[a-f]{2}",)),
        ResponseFormat("json_schema", (SHORT_ARRAY,)),
        ResponseFormat("json_schema", (PERSON,)),
        ResponseFormat("choice", ("<think>a", "e\u0301", "</tool_call>")),
    ],
    ids=["choice", "regex", "array", "object", "added tokens and text that is not NFC"],
)
async def test_formats(
    engine: VllmEngine, native: NativeEngine, asked: Sequence[Question], format: ResponseFormat
) -> None:
    held = replace(CUT, response_format=format)
    for q in asked:
        ours, theirs = await answer(engine, q, held), await answer(native, q, held)
        assert tokens(ours) == tokens(theirs)
        assert text(ours) == text(theirs)
        assert ours[-1].finish_reason == theirs[-1].finish_reason


@pytest.mark.parametrize(
    "rules",
    [
        AnswerRules(tools=(LOOK,), forced=True, parallel=False),
        AnswerRules(tools=(LOOK, WAIT), forced=True),
        AnswerRules(tools=(LOOK, WAIT)),
        AnswerRules(tools=(LOOK,), format=ResponseFormat("choice", ("red", "blue"))),
        AnswerRules("optional", format=ResponseFormat("choice", ("red", "blue"))),
    ],
    ids=["a call", "calls", "may call", "a call or a format", "reasoning"],
)
async def test_tool_calls(
    engine: VllmEngine, native: NativeEngine, asked: Sequence[Question], rules: AnswerRules
) -> None:
    for q in asked:
        ours, theirs = await answer(engine, q, CUT, rules), await answer(native, q, CUT, rules)
        assert tokens(ours) == tokens(theirs)
        assert text(ours) == text(theirs)
        if rules.forced:
            assert text(ours).startswith('<tool_call>\n{"name": "')


async def test_alternatives_that_a_format_excludes_have_no_infinite_values(
    engine: VllmEngine, asked: Sequence[Question]
) -> None:
    """vLLM masks before it reports, so most alternatives have a log-probability of minus infinity."""
    sampling = replace(
        CUT, logprobs=True, top_logprobs=5, response_format=ResponseFormat("choice", ("yes", "no"))
    )
    deltas = [delta for delta in await answer(engine, asked[0], sampling) if delta.token_ids]
    values = [each.logprob for delta in deltas for top in delta.top_logprobs for each in top]
    assert values
    assert min(values) > -1e9
