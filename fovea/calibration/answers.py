"""Types of answers, and whether two answers say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from fovea.contract.sampling import ResponseFormat

MAX_WORDS = 3
MAX_WORD_CHARS = 32
_NUMBER = re.compile(r"[-+]?((\d{1,3}(,\d{3})+|\d+)(\.\d+)?|\.\d+)", re.ASCII)
_QUOTES = "\"'“”‘’ "
_STOPS = ".!。！ "
"""What a model may write around an answer without changing it; a full stop may begin a number."""


class AnswerType(StrEnum):
    """How an answer reads. Log-probabilities of each type are calibrated on their own."""

    NUMBER = "number"
    WORD = "word"
    CHOICE = "choice"
    STRUCTURED = "structured"
    TEXT = "text"


def type_of(text: str, response_format: ResponseFormat | None) -> AnswerType:
    """The type of an answer. An answer to a regular expression has the type of its text."""
    if response_format is not None and response_format.kind == "choice":
        return AnswerType.CHOICE
    if response_format is not None and response_format.kind == "json_schema":
        return AnswerType.STRUCTURED
    plain = normalized(text)
    if _number(plain) is not None:
        return AnswerType.NUMBER
    is_short = len(plain) <= MAX_WORD_CHARS and len(plain.split()) <= MAX_WORDS
    return AnswerType.WORD if is_short else AnswerType.TEXT


def normalized(text: str) -> str:
    """The answer in lower case, without quotes, full stops and repeated spaces around and inside."""
    return " ".join(text.casefold().split()).strip(_QUOTES).rstrip(_STOPS).strip(_QUOTES)


def agree(first: str, second: str) -> bool:
    """Whether two answers say the same: equal JSON, equal numbers, or equal text once normalized."""
    return bool(_value(first) == _value(second))


def agrees_with_any(answer: str, accepted: Iterable[str]) -> bool:
    return any(agree(answer, each) for each in accepted)


def _value(text: str) -> Any:
    """Compares equal for answers that say the same."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        try:
            return _normalized_json(json.loads(stripped))
        except (ValueError, RecursionError):
            pass
    plain = normalized(text)
    number = _number(plain)
    return plain if number is None else number


def _normalized_json(value: Any) -> Any:
    """Strings are compared like answers; a number equals a string that holds it."""
    if isinstance(value, dict):
        return {key: _normalized_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normalized_json(item) for item in value]
    if isinstance(value, str):
        number = _number(normalized(value))
        return normalized(value) if number is None else number
    if isinstance(value, bool):
        return "boolean", value  # True equals 1
    return Decimal(str(value)) if isinstance(value, int | float) else value


def _number(plain: str) -> Decimal | None:
    """The number that a normalized answer consists of, with or without a percent sign."""
    plain = plain.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(plain):
        return None
    try:
        return Decimal(plain.replace(",", ""))
    except InvalidOperation:
        return None
