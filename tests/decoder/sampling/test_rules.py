"""Answers that sampling holds to rules: reasoning, calls of tools, formats. Walked at random, byte by byte."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from decoder_svc.engine.protocol import AnswerRules, CallableTool, ResponseFormat
from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.parsing.calls import ToolCallReader
from decoder_svc.sampling.grammar import compiled
from decoder_svc.sampling.source import grammar_source
from fovea.contract.errors import FormatTooCostly, FoveaError
from fovea.contract.tools import merge_calls
from tests.decoder.sampling.conftest import MAKE_FORMATS
from tests.made_up_tools import made_up_tools

BYTES = LLTokenizer("byte")
WALKS = 40
INTEGER = json.dumps(
    {
        "type": "object",
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["x"],
        "additionalProperties": False,
    }
)
LOOK = CallableTool("look", INTEGER, "tools[0].parameters")
FREE = CallableTool("free", "", "tools[1].parameters")
CHOICE = ResponseFormat("choice", ("red", "blue"))


def matcher(rules: AnswerRules) -> LLMatcher:
    return compiled(BYTES, grammar_source(rules.kind, rules.source))


def takes(rules: AnswerRules, answer: str) -> bool:
    """Whether the whole answer may be sampled and may end there."""
    position = matcher(rules)
    return position.consume_tokens(list(answer.encode())) and position.is_accepting()


def walks(rules: AnswerRules, seed: int = 1, tries: int = WALKS) -> Iterator[str]:
    """Random answers that tend to their end."""
    start, chance = matcher(rules), random.Random(seed)
    for _ in range(tries):
        position, said = start.deep_copy(), bytearray()
        for _ in range(3000):
            bits = np.unpackbits(np.frombuffer(position.compute_bitmask(), np.uint8), bitorder="little")
            may_come = set(np.flatnonzero(bits).tolist())
            may_end = BYTES.eos_token in may_come
            may_come.discard(BYTES.eos_token)
            if may_end and (not may_come or chance.random() < 0.3):
                yield said.decode()
                break
            wish = may_come.intersection(b'"}],' if chance.random() < 0.3 else b'abc019{"<>')
            said.append(chance.choice(sorted(wish or may_come)))
            position.consume_token(said[-1])


def read(answer: str, *names: str) -> tuple[str, list[tuple[str, str]]]:
    reader = ToolCallReader(names, is_held=True)
    parts = [reader.push(answer), reader.finish()]
    calls = merge_calls(delta for part in parts for delta in part.calls)
    return "".join(part.text for part in parts), [(call.name, call.arguments) for call in calls]


@pytest.mark.parametrize("seed", range(12))
def test_forced_calls_are_valid(seed: int) -> None:
    made = list(made_up_tools(3, seed))
    tools = tuple(
        CallableTool(tool.name, tool.parameters, f"tools[{at}].parameters") for at, tool in enumerate(made)
    )
    schemas = {tool.name: json.loads(tool.parameters) for tool in made}
    answers = list(walks(AnswerRules(tools=tools, forced=True), seed, tries=12))
    assert answers
    for answer in answers:
        text, calls = read(answer, *schemas)
        assert (text, bool(calls)) == ("", True)
        for name, arguments in calls:
            jsonschema.validate(json.loads(arguments), schemas[name], jsonschema.Draft202012Validator)


def test_a_forced_answer_is_nothing_but_calls_of_the_known_tools() -> None:
    rules = AnswerRules(tools=(LOOK, FREE), forced=True)
    call = '<tool_call>\n{"name": "look", "arguments": {"x": 3}}\n</tool_call>'
    free = '<tool_call>\n{"name": "free", "arguments": {"any": [1]}}\n</tool_call>'
    assert takes(rules, call)
    assert takes(rules, f"{call}\n{free}\n{call}")
    assert not takes(rules, f"Well.\n{call}")
    assert not takes(rules, "")
    assert not takes(rules, call.replace("look", "nobody"))
    assert not takes(rules, call.replace("3", '"3"'))


def test_a_single_call_ends_the_answer_if_calls_are_not_parallel() -> None:
    call = '<tool_call>\n{"name": "look", "arguments": {"x": 3}}\n</tool_call>'
    once = AnswerRules(tools=(LOOK,), forced=True, parallel=False)
    assert takes(once, call)
    assert not takes(once, f"{call}\n{call}")
    free = AnswerRules(tools=(LOOK,), parallel=False)
    assert takes(free, f"Well.\n{call}")
    assert takes(free, "No call < at all.")
    assert not takes(free, f"{call}\n")


def test_free_text_may_hold_calls_and_each_is_held() -> None:
    rules = AnswerRules(tools=(LOOK, FREE))
    call = '<tool_call>\n{"name": "look", "arguments": {"x": 3}}\n</tool_call>'
    for answer in ("", "No call.", call, f"é\n{call} and\n{call}\nBye", "<tool_cal"):
        assert takes(rules, answer)
    assert not takes(rules, f"Well {call.replace('3', '300')}")
    assert not takes(rules, "<tool_call>")
    for answer in walks(rules):
        for name, arguments in read(answer, "look", "free")[1]:
            assert name in ("look", "free")
            assert isinstance(json.loads(arguments), dict)


def test_a_format_stands_in_the_place_of_calls() -> None:
    rules = AnswerRules(tools=(LOOK,), format=CHOICE)
    assert takes(rules, "red")
    assert takes(rules, '<tool_call>\n{"name": "look", "arguments": {"x": 3}}\n</tool_call>')
    assert not takes(rules, "green")
    assert not takes(rules, "")


@pytest.mark.parametrize(
    ("format", "fits", "fails"),
    [
        (CHOICE, "red", "green"),
        (ResponseFormat("regex", ("[0-9]{2}/x|\\d\n",)), "12/x", "1/x"),
        (ResponseFormat("json_schema", (INTEGER,)), '{"x": 7}', '{"x": 700}'),
    ],
    ids=["choice", "regex", "json_schema"],
)
def test_a_format_holds_what_follows_the_reasoning(format: ResponseFormat, fits: str, fails: str) -> None:
    opened = AnswerRules("opened", format=format)
    assert takes(opened, f"Let me < think\n\nagain.\n</think>\n\n{fits}")
    assert not takes(opened, fits)
    assert not takes(opened, f"a</think>\n\n{fails}")
    assert not takes(opened, f"a</think>{fits}")
    optional = AnswerRules("optional", format=format)
    assert takes(optional, fits)
    assert takes(optional, f"<think>\na\n</think>\n\n{fits}")
    assert not takes(optional, fails)
    assert not takes(optional, f"<think>a</think>\n\n{fails}")


def test_a_forced_call_may_follow_reasoning() -> None:
    rules = AnswerRules("opened", (LOOK,), forced=True)
    assert takes(rules, 'a</think>\n\n<tool_call>\n{"name": "look", "arguments": {"x": 3}}\n</tool_call>')
    assert not takes(rules, "a</think>\n\nWell.")


@pytest.mark.parametrize(
    ("rules", "field", "error"),
    [
        (AnswerRules(tools=(LOOK, CallableTool("b", '{"not": {}}', "tools[1].parameters"))), "tools[1].parameters", FormatNotEnforceable),
        (AnswerRules(tools=(CallableTool("b", '{"type": "string"}', "tools[4].parameters"),)), "tools[4].parameters", FormatNotEnforceable),
        (AnswerRules(tools=(LOOK, CallableTool("b", '{"properties": {"a": {"enum": [1], "const": 2}}, "required": ["a"]}', "tools[1].parameters"))), "tools[1].parameters", FormatNotEnforceable),
        (AnswerRules(tools=(CallableTool("b", '{"properties": {"a": {"multipleOf": 999983}}}', "tools[0].parameters"),)), "tools[0].parameters", FormatTooCostly),
        (AnswerRules("opened", format=ResponseFormat("regex", ("(a",))), "response_format.regex", FormatNotEnforceable),
        (AnswerRules(tools=(LOOK,), format=ResponseFormat("json_schema", ("no",))), "response_format.json_schema", FormatNotEnforceable),
    ],
    ids=["keyword", "no object", "unsatisfiable", "costly", "expression", "no JSON"],
)  # fmt: skip
async def test_the_part_that_cannot_be_enforced_is_named(
    formats: MAKE_FORMATS, rules: AnswerRules, field: str, error: type[FoveaError]
) -> None:
    async with formats() as tried:
        with pytest.raises(error) as caught:
            await tried.check(rules, "acme")
        assert [violation.field for violation in caught.value.violations] == [field]


async def test_rules_are_compiled_within_the_limits_of_formats(formats: MAKE_FORMATS) -> None:
    """128 tools with schemas fit; what does not fit is refused with the limit."""
    made = list(made_up_tools(128, seed=7))
    tools = tuple(CallableTool(t.name, t.parameters, f"tools[{at}].parameters") for at, t in enumerate(made))
    async with formats() as tried:
        assert await tried.check(AnswerRules(tools=tools, forced=True), "acme")
    async with formats(max_format_s=0.01) as tried:
        with pytest.raises(FormatTooCostly) as caught:
            await tried.check(AnswerRules(tools=tools, forced=True), "acme")
        assert caught.value.metadata["limit"] == "0.01"
        assert [violation.field for violation in caught.value.violations] == ["tools"]
