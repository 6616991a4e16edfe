"""Tool calls are read out of the text; what is no call stays text, whole."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder_svc.parsing.calls import Called, ToolCallReader
from fovea.contract.tools import merge_calls

NAMES = ("look", "add")
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": [1, {"x": "}"}]}}\n</tool_call>'
ADD = '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'
WRITTEN = st.lists(
    st.sampled_from(
        (CALL, ADD, "<tool_call>", "</tool_call>", '{"name": "look", "arguments": {', "}", "}}", '"', "\\", "\n", "text",
         '{"name": "look", "arguments": {"s": "</tool_call>"}}', "<tool", " ", "[")
    ),
    max_size=8,
).map("".join)  # fmt: skip


def read(answer: str, pieces: int = 1000, is_held: bool = False) -> tuple[str, list[tuple[str, str]], bool]:
    """The text, the calls as (name, arguments), and whether they are complete."""
    reader = ToolCallReader(NAMES, is_held)
    parts = [reader.push(answer[at : at + pieces]) for at in range(0, len(answer), pieces)]
    parts.append(reader.finish())
    calls = merge_calls(delta for part in parts for delta in part.calls)
    assert all(call.id.startswith("call_") for call in calls)
    assert len({call.id for call in calls}) == len(calls)
    assert [call.index for call in calls] == list(range(len(calls)))
    text = "".join(part.text for part in parts)
    return text, [(call.name, call.arguments) for call in calls], reader.complete


LOOK = ("look", '{"at": [1, {"x": "}"}]}')


@pytest.mark.parametrize("pieces", [1, 7, 1000])
@pytest.mark.parametrize("is_held", [False, True])
@pytest.mark.parametrize(
    ("answer", "text", "calls"),
    [
        ("No call.\n\n", "No call.\n\n", []),
        (CALL, "", [LOOK]),
        (f"{CALL}\n{ADD}\n", "", [LOOK, ("add", "{}")]),
        (f"Sure.\n{CALL}", "Sure.", [LOOK]),
        (f"Sure.\n\n{CALL}\nBye", "Sure.\n\nBye", [LOOK]),
        (f"a < b <tool {CALL}", "a < b <tool ", [LOOK]),
    ],
)
def test_calls_and_text_are_told_apart(
    answer: str, text: str, calls: list[tuple[str, str]], is_held: bool, pieces: int
) -> None:
    assert read(answer, pieces, is_held) == (text, calls, bool(calls))


@pytest.mark.parametrize("pieces", [1, 7, 1000])
@pytest.mark.parametrize(
    "body",
    [
        "nonsense", "", '{"name": "look"', '{"name": "look", "arguments": []}', '{"name": "look", "arguments": "{}"}',
        '{"name": "nobody", "arguments": {}}', '{"name": 3, "arguments": {}}', '{"arguments": {}}', "[]", "null",
        '{"name": "look", "arguments": {}, "extra": 1}', '{"name": "look", "arguments": {"a": NaN}}',
        '{"name": "look", "arguments": {"a": 1}}}', "{'name': 'look', 'arguments': {}}", '{"name": "look\n", "arguments": {}}',
        '{"name": "look", "arguments": {"a": "unclosed}}\n',
    ],
)  # fmt: skip
def test_what_is_no_call_of_a_known_tool_is_text(body: str, pieces: int) -> None:
    """And a call after it is still a call."""
    broken = f"Well.\n<tool_call>{body}</tool_call>"
    assert read(broken, pieces) == (broken, [], False)
    text, calls, complete = read(f"{broken}\n{ADD}", pieces)
    assert (text.rstrip("\n"), calls, complete) == (broken, [("add", "{}")], True)


def test_the_closing_tag_may_stand_in_an_argument() -> None:
    call = '<tool_call>{"name": "look", "arguments": {"s": "</tool_call> \\" </tool_call>"}}</tool_call>'
    assert read(call, 1) == ("", [("look", '{"s": "</tool_call> \\" </tool_call>"}')], True)


def test_arguments_may_come_first_or_be_missing() -> None:
    turned = (
        '<tool_call>{"arguments": {"é": 1}, "name": "look"}</tool_call><tool_call>{"name": "add"}</tool_call>'
    )
    assert read(turned) == ("", [("look", '{"é": 1}'), ("add", "{}")], True)


@pytest.mark.parametrize("cut", range(len("Sure.\n") + 1, len("Sure.\n" + CALL)))
def test_a_call_that_is_cut_is_text(cut: int) -> None:
    answer = f"Sure.\n{CALL}"[:cut]
    assert read(answer, 5) == (answer, [], False)


def test_a_held_call_passes_piece_by_piece() -> None:
    reader = ToolCallReader(NAMES, is_held=True)
    pushed = [reader.push(char) for char in CALL]
    names = [delta.name for called in pushed for delta in called.calls if delta.name]
    arguments = [delta.arguments for called in pushed for delta in called.calls if delta.arguments]
    assert names == ["look"]
    assert len(arguments) == len("".join(arguments)) == len(LOOK[1])
    assert reader.finish() == Called()


@pytest.mark.parametrize("cut", range(len(CALL) - len("</tool_call>") - 1))
def test_a_held_call_that_is_cut_is_the_beginning_of_a_call(cut: int) -> None:
    text, calls, complete = read(CALL[:cut], 5, is_held=True)
    assert not complete
    if calls:
        assert text == ""
        assert LOOK[1].startswith(calls[0][1])
    else:
        assert text == CALL[:cut]


@given(answer=WRITTEN, pieces=st.integers(1, 30))
def test_the_pieces_do_not_matter(answer: str, pieces: int) -> None:
    assert read(answer, pieces) == read(answer)


@given(answer=WRITTEN, pieces=st.integers(1, 30))
def test_nothing_of_an_answer_is_lost(answer: str, pieces: int) -> None:
    """Besides line feeds, every character is in the text or in a call that a JSON parser reads."""
    text, calls, _ = read(answer, pieces)
    for _, arguments in calls:
        assert isinstance(json.loads(arguments), dict)
    said = len(re.sub(r"\s", "", text)) + sum(len(re.sub(r"\s", "", a)) for _, a in calls)
    frame = len('<tool_call>{"name":"","arguments":}</tool_call>')
    names = sum(len(name) + frame for name, _ in calls)
    assert said + names == len(re.sub(r"\s", "", answer))
