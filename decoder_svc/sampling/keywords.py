"""The values that single keywords of a JSON schema may have.

A check takes the subschema's path, the keyword and its value. It returns the value as it is enforced, or
raises Unenforceable or TooCostly with the path and the keyword. Independent of llguidance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LARGEST = 2**53 - 1
"""Bounds and constants are compared as doubles, which round larger integers."""
LARGEST_COUNT = 2**31 - 1
MAX_MULTIPLE = 10_000
"""`multipleOf` n takes n automaton states: 10,000 cost 0.1 s and 15 MiB, 1,000,000 cost 10 s and 400 MiB."""

TYPES = frozenset(("null", "boolean", "integer", "number", "string", "array", "object"))
_NAMED_ESCAPES = "\b\t\n\f\r"
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?(\]?[^\]]*)\]")
_SET_SIGNS = re.compile(r"\[|&&|--|~~")
_FLAGS = re.compile(r"\(\?[a-zA-Z-]+[:)]")
_STACKED = re.compile(r"(?:[*+?]|\{\d*,?\d*\})\??(?:[*+]|\?\?|\{\d*,?\d*\})")


class FormatError(ValueError):
    """What is wrong with a format. `field` of the request is at fault; empty for that of the whole format."""

    field = ""


class Unenforceable(FormatError):
    """The format is invalid or demands what cannot be enforced exactly."""


class TooCostly(FormatError):
    """`what` of the format is above `limit`. Formats beyond the limit cost too much to compile."""

    def __init__(self, what: str, limit: int, actual: float) -> None:
        super().__init__(f"{what} is {actual}, above the limit of {limit}")
        self.what, self.limit, self.actual = what, limit, actual


@dataclass(frozen=True)
class SchemaPath:
    """A subschema's path, as a JSON pointer, and its depth."""

    pointer: str = "#"
    depth: int = 0

    def __truediv__(self, key: object) -> SchemaPath:
        escaped = str(key).replace("~", "~0").replace("/", "~1")
        return SchemaPath(f"{self.pointer}/{escaped}", self.depth + 1)

    def refuse(self, keyword: str, what: str) -> Unenforceable:
        return Unenforceable(f"{self._named(keyword)} {what}")

    def too_costly(self, keyword: str, limit: int, actual: float) -> TooCostly:
        return TooCostly(self._named(keyword), limit, actual)

    def _named(self, keyword: str) -> str:
        return f"{shown(keyword)} in {shown(self.pointer)}"


def shown(text: str) -> str:
    """Text of the caller for a message: short and encodable."""
    short = text if len(text) <= 80 else f"{text[:79]}…"
    return short.encode("utf-8", "backslashreplace").decode()


def refuse_keyword(path: SchemaPath, keyword: str, value: Any) -> Any:
    raise path.refuse(keyword, "is not a keyword that is enforced")


def check_text(path: SchemaPath, keyword: str, value: Any) -> str:
    """A string that JSON writes without `\\u`. The escape is refused, because it disguises names."""
    if not isinstance(value, str):
        raise path.refuse(keyword, "must be a string")
    for char in value:
        if "\ud800" <= char <= "\udfff":
            raise path.refuse(keyword, f"has half of a surrogate pair, \\u{ord(char):04x}")
        if (char < " " and char not in _NAMED_ESCAPES) or char == "\x7f":
            raise path.refuse(keyword, f"has the control character \\u{ord(char):04x}")
    return value


def check_pattern(path: SchemaPath, keyword: str, value: Any) -> str:
    """An expression that Rust and JSON schema both support with the same meaning."""
    pattern = check_text(path, keyword, value)
    plain = _ESCAPE.sub("_", pattern)
    outside = _CLASS.sub("_", plain)
    odd = [e for e in _ESCAPE.findall(pattern) if e[1].isalpha() and e[1] not in "dDwWsStnrfvxupP"]
    odd += _FLAGS.findall(outside) + _STACKED.findall(outside)
    odd += [sign for inside in _CLASS.findall(plain) for sign in _SET_SIGNS.findall(inside)]
    if odd:
        raise path.refuse(keyword, f"has {shown(odd[0])}, which not every engine reads alike")
    return pattern


def check_number(path: SchemaPath, keyword: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise path.refuse(keyword, "must be a number")
    if not -LARGEST <= value <= LARGEST:
        raise path.refuse(keyword, f"must be between -{LARGEST} and {LARGEST}")
    return value


def check_multiple(path: SchemaPath, keyword: str, value: Any) -> int | float:
    number = check_number(path, keyword, value)
    if number <= 0:
        raise path.refuse(keyword, "must be above 0")
    units, places = scaled(Decimal(repr(number)))
    if units > MAX_MULTIPLE:
        raise path.too_costly(f"{keyword} {number}, as an integer,", MAX_MULTIPLE, units)
    if _scaled_as_double(number) != (units, places):
        raise path.refuse(keyword, f"{number} is not enforced exactly")
    return number


def scaled(number: Decimal) -> tuple[int, int]:
    """The number as an integer, and the decimal places by which the integer is shifted."""
    places = max(0, -int(number.normalize().as_tuple().exponent))
    return int(number.scaleb(places)), places


def _scaled_as_double(number: float) -> tuple[int, int]:
    """`scaled` as llguidance computes it: by multiplying by ten, which may round."""
    value, places = float(number), 0
    while value % 1:
        value, places = value * 10, places + 1
    return int(value), places


def check_count(path: SchemaPath, keyword: str, value: Any) -> int:
    number = check_number(path, keyword, value)
    if number != int(number) or not 0 <= number <= LARGEST_COUNT:
        raise path.refuse(keyword, f"must be an integer from 0 to {LARGEST_COUNT}")
    return int(number)


def check_types(path: SchemaPath, keyword: str, value: Any) -> Any:
    for name in [value] if isinstance(value, str) else check_names(path, keyword, value):
        if name not in TYPES:
            raise path.refuse(keyword, f"{shown(name)} is not a type of JSON")
    return value


def check_names(path: SchemaPath, keyword: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise path.refuse(keyword, "must be a list of strings")
    return [check_text(path, keyword, name) for name in value]


def check_literals(path: SchemaPath, keyword: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise path.refuse(keyword, "must be a list of at least one value")
    return [check_literal(path, keyword, item) for item in value]


def check_literal(path: SchemaPath, keyword: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {check_text(path, keyword, k): check_literal(path, keyword, v) for k, v in value.items()}
    if isinstance(value, list):
        return [check_literal(path, keyword, item) for item in value]
    if isinstance(value, str):
        return check_text(path, keyword, value)
    return value if value is None or isinstance(value, bool) else check_number(path, keyword, value)
