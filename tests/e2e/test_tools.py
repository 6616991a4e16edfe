"""Tool calls, reasoning and prefilled turns through both services with the stand-in, which knows nothing of tools.

What it is made to say is what sampling holds it to; what it says freely is its own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from fovea.client import (
    Answer,
    AsyncClient,
    Finished,
    Format,
    Message,
    Sampling,
    Text,
    Tool,
    ToolCall,
    errors,
)
from fovea.contract.answer import FinishReason
from fovea.contract.tools import merge_calls
from standin import model_dir
from tests.e2e.house import CALL_S, running
from tests.made_up_tools import made_up_tools

pytestmark = pytest.mark.timeout(900)
THINKING = Path(__file__).parents[1] / "decoder" / "prompt" / "thinking_template.jinja"
ADDED = {"<think>": 1013, "</think>": 1014, "<tool_call>": 1015, "</tool_call>": 1016}
"""As in Qwen's tokenizer, where they are no special tokens. The stand-in has rows for them."""
WILD = Sampling(temperature=1.5, seed=3, max_new_tokens=512)
LOOK = Tool.of(
    "look",
    "Looks at a place.",
    {
        "type": "object",
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["x"],
        "additionalProperties": False,
    },
)
OTHER = Tool.of(
    "other", "Does something else.", {"type": "object", "properties": {}, "additionalProperties": False}
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncClient]:
    async with (
        running(model_dir(), tmp_path_factory.mktemp("store")) as house,
        AsyncClient(house.decoder_side.address, timeout_s=CALL_S) as made,
    ):
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def thinker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncClient]:
    """The stand-in with the template and the added tokens of a Thinking checkpoint."""
    folder = tmp_path_factory.mktemp("thinking") / "model"
    shutil.copytree(model_dir(), folder)
    shutil.copy(THINKING, folder / "chat_template.jinja")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    plain = {"special": False, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    tokenizer["added_tokens"] += [{"id": id, "content": text} | plain for text, id in ADDED.items()]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    async with (
        running(folder, tmp_path_factory.mktemp("store")) as house,
        AsyncClient(house.decoder_side.address, timeout_s=CALL_S) as made,
    ):
        yield made


def valid(tool: Tool, call: ToolCall) -> bool:
    validator = jsonschema.Draft202012Validator(json.loads(tool.parameters))
    return call.name == tool.name and validator.is_valid(json.loads(call.arguments))


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.long)])
async def test_the_arguments_of_forced_calls_are_valid(client: AsyncClient, count: int) -> None:
    """Of every tool alone, by name, at a temperature at which the model says anything."""
    slots = asyncio.Semaphore(8)

    async def call(number: int, tool: Tool) -> tuple[Tool, Answer]:
        async with slots:
            sampling = Sampling(temperature=1.5, seed=number, max_new_tokens=512)
            answer = await client.ask("Go on.", tools=[tool, OTHER], tool_choice=tool.name, sampling=sampling)
            return tool, answer

    made = list(made_up_tools(count, seed=15))
    answers = await asyncio.gather(*(call(number, tool) for number, tool in enumerate(made)))
    assert [a.finish_reason for _, a in answers] == [FinishReason.TOOL_CALLS] * count
    wrong = [(t.parameters, a.tool_calls) for t, a in answers if not all(valid(t, c) for c in a.tool_calls)]
    assert wrong == []
    assert all(a.tool_calls and a.text == "" for _, a in answers)


@pytest.mark.long
async def test_a_required_call_is_of_a_tool_of_the_request(client: AsyncClient) -> None:
    answers = [
        await client.ask(
            "?",
            tools=[LOOK, OTHER],
            tool_choice="required",
            parallel_tool_calls=False,
            sampling=Sampling(temperature=2.0, seed=seed, max_new_tokens=100),
        )
        for seed in range(6)
    ]
    tools = {tool.name: tool for tool in (LOOK, OTHER)}
    for answer in answers:
        (call,) = answer.tool_calls
        assert valid(tools[call.name], call)
        assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert {answer.tool_calls[0].name for answer in answers} == set(tools)


async def test_a_forced_call_streams_in_pieces_with_an_id_and_a_name_first(client: AsyncClient) -> None:
    events = [e async for e in client.stream("?", tools=[LOOK], tool_choice="look", sampling=WILD)]
    deltas = [delta for e in events if isinstance(e, Text) for delta in e.tool_calls]
    assert deltas[0].name == "look"
    assert deltas[0].id.startswith("call_")
    assert not any(delta.id or delta.name for delta in deltas[1:] if delta.index == 0)
    calls = merge_calls(deltas)
    assert all(valid(LOOK, ToolCall(c.id, c.name, c.arguments)) for c in calls)
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason is FinishReason.TOOL_CALLS


async def test_a_call_that_max_new_tokens_cuts_says_so(client: AsyncClient) -> None:
    answer = await client.ask("?", tools=[LOOK], tool_choice="look", sampling=Sampling(max_new_tokens=6))
    assert answer.finish_reason is FinishReason.LENGTH


async def test_a_free_answer_with_tools_stays_text(client: AsyncClient) -> None:
    answer = await client.ask("?", tools=[LOOK])
    assert answer.tool_calls == ()
    assert answer.finish_reason is not FinishReason.TOOL_CALLS


async def test_tools_that_may_not_be_called_are_not_in_the_prompt(client: AsyncClient) -> None:
    plain, none, auto = [
        (await client.count("?", **options)).prompt_tokens  # type: ignore[arg-type]
        for options in ({}, {"tools": [LOOK], "tool_choice": "none"}, {"tools": [LOOK]})
    ]
    assert plain == none < auto


async def test_the_count_of_a_conversation_with_calls_is_that_of_its_answer(client: AsyncClient) -> None:
    first = await client.ask("?", tools=[LOOK], tool_choice="look", sampling=WILD)
    turns = [
        Message("user", "?"),
        Message.of_answer(first),
        *(Message.result(call, "blue") for call in first.tool_calls),
    ]
    counted = await client.count(turns, tools=[LOOK])
    answer = await client.ask(turns, tools=[LOOK])
    totals = answer.receipt.totals
    assert counted.prompt_tokens == totals.text_tokens + totals.visual_tokens


async def test_strict_tools_and_a_format_hold_the_answer_to_either(client: AsyncClient) -> None:
    for seed in range(4):
        answer = await client.ask(
            "?",
            tools=[LOOK],
            response_format=Format.choice("red", "blue"),
            sampling=Sampling(temperature=3.0, seed=seed, max_new_tokens=100),
        )
        if answer.tool_calls:
            assert all(valid(LOOK, call) for call in answer.tool_calls)
        else:
            assert answer.text in ("red", "blue")


async def test_an_answer_continues_a_prefilled_turn(client: AsyncClient) -> None:
    turns = [Message("user", "?"), Message("assistant", "The answer is")]
    counted = await client.count(turns, continue_final_message=True)
    closed = await client.count([Message("user", "?")])
    assert counted.prompt_tokens > closed.prompt_tokens
    answer = await client.ask(
        turns, continue_final_message=True, response_format=Format.choice(" red", " blue")
    )
    assert answer.text in (" red", " blue")


STRICT_REF = Tool.of("bad", "", {"properties": {"a": {"not": {}}}}, strict=True)
ARRAY = Tool.of("array", "", {"type": "array"}, strict=True)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tools": [LOOK, STRICT_REF]}, "tools[1].parameters"),
        ({"tools": [Tool("bad", parameters=STRICT_REF.parameters)], "tool_choice": "required"}, "tools[0].parameters"),
        ({"tools": [ARRAY]}, "tools[0].parameters"),
        ({"tools": [LOOK], "tool_choice": "look", "response_format": Format.regex("a")}, "response_format"),
        ({"tools": [LOOK], "response_format": Format.regex("(a")}, "response_format.regex"),
        ({"tools": [LOOK], "tool_choice": "nobody"}, "tool_choice.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [Tool("no good")]}, "tools[0].name"),
        ({"tools": [Tool(f"t{at}") for at in range(129)]}, "tools"),
        ({"tools": [Tool("big", "x" * 200_000)]}, "tools"),
        ({"thinking": True}, "thinking"),
        ({"continue_final_message": True}, "messages[0]"),
    ],
)  # fmt: skip
async def test_what_cannot_be_served_is_refused_by_field(
    client: AsyncClient, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        await client.ask("?", **options)
    assert [violation.field for violation in caught.value.violations] == [field]


BIASES = (10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 100.0)
"""With the last the reasoning ends at once; one of the others ends it after some tokens."""
ENDS = 999, 1001


async def thought(client: AsyncClient, seed: int, **options: Any) -> tuple[Answer, str]:
    """An answer at a temperature at which the model says anything, with a bias to close its reasoning."""
    bias = {ADDED["</think>"]: BIASES[seed]}
    sampling = Sampling(temperature=1.0, seed=seed, max_new_tokens=300, logit_bias=bias)
    answer = await client.ask("?", sampling=sampling, **options)
    return answer, answer.reasoning


async def test_a_format_holds_what_follows_the_reasoning(thinker: AsyncClient) -> None:
    """The template opens the reasoning, the model closes it, the format holds the text."""
    wanted = Format.choice("red", "blue")
    answers = [await thought(thinker, seed, response_format=wanted) for seed in range(len(BIASES))]
    ended = [
        (answer, reasoning) for answer, reasoning in answers if answer.finish_reason is FinishReason.STOP
    ]
    assert ended
    assert {answer.text for answer, _ in ended} <= {"red", "blue"}
    assert any(reasoning for _, reasoning in ended)
    assert all("think>" not in reasoning for _, reasoning in answers)
    assert all(answer.text == "" for answer, _ in answers if answer.finish_reason is FinishReason.LENGTH)


@pytest.mark.long
async def test_a_forced_call_follows_the_reasoning(thinker: AsyncClient) -> None:
    answers = [await thought(thinker, seed, tools=[LOOK], tool_choice="look") for seed in range(len(BIASES))]
    called = [answer for answer, _ in answers if answer.finish_reason is FinishReason.TOOL_CALLS]
    assert called
    assert all(valid(LOOK, call) for answer in called for call in answer.tool_calls)
    assert all(answer.text == "" for answer in called)


async def test_reasoning_streams_apart_from_the_text(thinker: AsyncClient) -> None:
    never = dict.fromkeys((*ENDS, ADDED["</think>"]), -100.0)
    sampling = Sampling(temperature=2.0, seed=1, max_new_tokens=40, logit_bias=never)
    events = [e async for e in thinker.stream("?", sampling=sampling)]
    texts = [e for e in events if isinstance(e, Text)]
    assert sum(bool(e.reasoning) for e in texts) > 1
    assert not any(e.text for e in texts)
    assert sum(len(e.token_ids) for e in texts) == 40


async def test_a_checkpoint_that_always_reasons_cannot_be_stopped(thinker: AsyncClient) -> None:
    with pytest.raises(errors.InvalidArgument, match="thinking cannot be off"):
        await thinker.ask("?", thinking=False)
