"""The decoder with FOVEA_DECODER_ENGINE=vllm gives the answers and receipts of the native engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict

from fovea.client import Answer, AsyncClient, Format, Image, Message, Sampling, Tool
from standin import model_dir
from tests.e2e.house import CALL_S, Answered, request, running
from tests.e2e.pictures import some

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
VOLATILE = {"encoder", "stagesMs", "requestId"}


def steady(answered: Answered) -> tuple[Any, ...]:
    """An answer and its receipt, without values that differ from run to run."""
    finished = MessageToDict(answered.finished)
    receipt = finished["receipt"]
    for part in (receipt, *receipt.get("images", ())):
        for name in VOLATILE & set(part):
            del part[name]
    return answered.token_ids, answered.text, finished


async def answers(model: Path, cache: Path, **changes: Any) -> tuple[list[Answered], Any]:
    asked = [
        request("How many rows?"),
        request("Read it.", some(1, seed=1)),
        request("Which?", some(2, seed=2)),
    ]
    async with running(model, cache, decoder_changes=changes) as house:
        return [await house.ask(question) for question in asked], await house.info()


async def test_answers_and_receipts_are_those_of_the_native_engine(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    native, _ = await answers(checkpoints["moe"], tmp_path / "one")
    other, info = await answers(checkpoints["moe"], tmp_path / "two", engine="vllm", enforce_eager=True)
    assert [steady(a) for a in other] == [steady(a) for a in native]
    assert "vLLM" in str(info)
    assert all(a.finished.receipt.stages_ms.prefill > 0 for a in other)


LOOK = Tool.of(
    "look",
    "Looks at a place.",
    {
        "type": "object",
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["x"],
        "additionalProperties": False,
    },
    strict=True,
)
OTHER = Tool.of(
    "other", "Does something else.", {"type": "object", "properties": {}, "additionalProperties": False}
)
SHOWN = Message("user", [Image(some(1)[0]), "Go on."])
PREFILLED = [
    Message("user", [Image(some(1)[0]), "What colour is it?"]),
    Message("assistant", "The answer is"),
]
GREEDY = Sampling(max_new_tokens=60)
# A temperature of 0.001 is greedy whatever the checkpoint's defaults are.
DEFAULTS = Sampling(temperature=0.001, max_new_tokens=24, checkpoint_defaults=True, presence_penalty=1.5)
REQUESTS: dict[str, dict[str, Any]] = {
    "a call by name": {"question": [SHOWN], "tools": [LOOK, OTHER], "tool_choice": "look", "sampling": GREEDY},
    "a call of any tool": {"question": [SHOWN], "tools": [LOOK, OTHER], "tool_choice": "required", "sampling": GREEDY},
    "one call": {
        "question": [SHOWN], "tools": [LOOK, OTHER], "tool_choice": "required", "sampling": GREEDY,
        "parallel_tool_calls": False,
    },
    "calls or text": {"question": [SHOWN], "tools": [LOOK, OTHER], "sampling": GREEDY},
    "a call or a format": {
        "question": [SHOWN], "tools": [LOOK], "response_format": Format.choice("red", "blue"), "sampling": GREEDY
    },
    "a prefilled turn": {"question": PREFILLED, "continue_final_message": True, "sampling": GREEDY},
    "a prefilled turn with a format": {
        "question": PREFILLED, "continue_final_message": True, "response_format": Format.choice(" red", " blue")
    },
    "the checkpoint's defaults": {"question": [SHOWN], "sampling": DEFAULTS},
    "alternatives": {
        "question": [SHOWN], "sampling": Sampling(max_new_tokens=12, logprobs=True, top_logprobs=4)
    },
    "penalties": {
        "question": [SHOWN],
        "sampling": Sampling(max_new_tokens=40, frequency_penalty=0.8, repetition_penalty=1.2, logit_bias={65: 4.0}),
    },
}  # fmt: skip


async def asked(cache: Path, **changes: Any) -> dict[str, Answer]:
    """Of the stand-in, whose template knows tools."""
    async with (
        running(model_dir(), cache, decoder_changes=changes) as house,
        AsyncClient(house.decoder_side.address, timeout_s=CALL_S) as client,
    ):
        return {name: await client.ask(**options) for name, options in REQUESTS.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Answer, Answer]]:
    """Each request's answers by the native engine and by vLLM."""
    native = await asked(tmp_path_factory.mktemp("native") / "store")
    other = await asked(tmp_path_factory.mktemp("vllm") / "store", engine="vllm", enforce_eager=True)
    return {name: (native[name], other[name]) for name in REQUESTS}


@pytest.mark.parametrize("name", REQUESTS)
async def test_what_a_request_may_say(both: dict[str, tuple[Answer, Answer]], name: str) -> None:
    native, other = both[name]
    assert other.token_ids == native.token_ids
    assert (other.text, other.finish_reason) == (native.text, native.finish_reason)
    assert [(c.name, c.arguments) for c in other.tool_calls] == [
        (c.name, c.arguments) for c in native.tool_calls
    ]
    assert other.logprobs == pytest.approx(native.logprobs, abs=1e-4)
    assert [[t.token_id for t in top] for top in other.top_logprobs] == [
        [t.token_id for t in top] for top in native.top_logprobs
    ]
    assert other.receipt.totals == native.receipt.totals
