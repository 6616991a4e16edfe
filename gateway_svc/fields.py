"""The fields of a JSON object. Each is taken or refused: `close` refuses by name whatever is left.

A field that is null counts as unset, as in the OpenAI API. Errors name the field by its path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fovea.contract.errors import InvalidArgument
from gateway_svc.errors import not_served

MAX_INTEGER = 2**32 - 1
UNKNOWN = "the gateway does not know it"


def wrong(path: str, what: str) -> InvalidArgument:
    """The error of a field with an unusable value."""
    return InvalidArgument.of_field(path, what)


class Fields:
    """The fields of an object that nobody has taken yet."""

    def __init__(self, value: object, path: str = "") -> None:
        """Raises InvalidArgument if the value is no object."""
        if not isinstance(value, Mapping):
            raise wrong(path or "body", "must be an object")
        self.path = path
        self._left = {name: each for name, each in value.items() if each is not None}

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> Any:
        """Any value; None without one."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        value = self.take(name)
        return None if value is None else as_text(value, self.at(name))

    def required(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if not value:
            raise wrong(self.at(name), "is required")
        return value

    def choice(self, name: str, *allowed: str) -> str | None:
        """One of the texts."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise wrong(self.at(name), f"must be {' or '.join(allowed)}")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise wrong(self.at(name), "must be true or false")
        return value

    def number(self, name: str) -> float | None:
        value = self.take(name)
        return None if value is None else as_number(value, self.at(name))

    def integer(self, name: str, least: int = 0, most: int = MAX_INTEGER) -> int | None:
        value = self.take(name)
        if value is None:
            return None
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (isinstance(value, int) or whole) or not least <= value <= most:
            raise wrong(self.at(name), f"must be an integer from {least} to {most}")
        return int(value)

    def object(self, name: str) -> Fields | None:
        value = self.take(name)
        return None if value is None else Fields(value, self.at(name))

    def array(self, name: str) -> list[Any] | None:
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            raise wrong(self.at(name), "must be an array")
        return value

    def only(self, name: str, accepted: tuple[Any, ...], why: str) -> None:
        """Accept the values that ask for what the gateway does anyway."""
        value = self.take(name)
        if value is not None and not any(value == each and type(value) is type(each) for each in accepted):
            raise not_served(self.at(name), why)

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Refuse the first field of these that is set."""
        for name, why in reasons.items():
            if name in self._left:
                raise not_served(self.at(name), why)

    def close(self) -> None:
        """Refuse what nobody has taken."""
        for name in self._left:
            raise not_served(self.at(str(name)[:80]), UNKNOWN)


def as_text(value: object, path: str) -> str:
    """A text that UTF-8 can carry."""
    if not isinstance(value, str):
        raise wrong(path, "must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong(path, "has half of a surrogate pair, which is no text") from None
    return value


def as_texts(values: list[Any], path: str) -> tuple[str, ...]:
    return tuple(as_text(value, f"{path}[{at}]") for at, value in enumerate(values))


def as_number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise wrong(path, "must be a finite number")
    return number
