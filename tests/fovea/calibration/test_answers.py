"""Types of answers, and which answers say the same."""

from __future__ import annotations

import pytest

from fovea.calibration.answers import AnswerType, agree, type_of
from fovea.contract.sampling import ResponseFormat


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Red", "red"), (" red.", '"Red"'), ("1,280", "1280"), ("12.0", "12"), ("12 %", "12%"), ("-3", "-3.0"),
        ('{"a": 1, "b": "Red"}', '{ "b": "red", "a": 1.0 }'), ("[1, 2]", "[1,2]"), ("two  words", "Two words"),
        ("红色。", "红色"), ('{"a": "12"}', '{"a": 12}'),
    ],
)  # fmt: skip
def test_answers_that_say_the_same_agree(first: str, second: str) -> None:
    assert agree(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("red", "green"), ("1,280", "1,281"), ("12", "-12"), ("12.5", "125"), (".5", "5"), ("1,28", "128"), ("", "0"),
        ('{"a": 1}', '{"a": 2}'), ('{"a": true}', '{"a": 1}'), ("[1, 2]", "[2, 1]"), ('{"a": 1', '{"a": 1}'),
        ("red green", "redgreen"),
    ],
)  # fmt: skip
def test_answers_that_differ_do_not_agree(first: str, second: str) -> None:
    assert not agree(first, second)


def test_deeply_nested_json_is_compared_as_text() -> None:
    nested = "[" * 100_000
    assert agree(nested, nested)
    assert not agree(nested, nested + "1")


SCHEMA = ResponseFormat.json_schema({"type": "object"})


@pytest.mark.parametrize(
    ("text", "response_format", "kind"),
    [
        ("42", None, AnswerType.NUMBER),
        ("1,280.5 %", None, AnswerType.NUMBER),
        ("dark blue", None, AnswerType.WORD),
        ("", None, AnswerType.WORD),
        ("It is a bar chart with four bars.", None, AnswerType.TEXT),
        ("一" * 40, None, AnswerType.TEXT),
        ("red", ResponseFormat.choice("red", "green"), AnswerType.CHOICE),
        ("{}", SCHEMA, AnswerType.STRUCTURED),
        ("42", ResponseFormat.regex(r"\d+"), AnswerType.NUMBER),
    ],
)
def test_the_type_follows_from_the_format_and_the_text(
    text: str, response_format: ResponseFormat | None, kind: AnswerType
) -> None:
    assert type_of(text, response_format) is kind
