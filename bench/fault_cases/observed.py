"""What a caller can observe of its calls: times, status, headers, every number and text of the responses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

TIMEOUT_S = 60.0
Value = float | str


class Observations:
    """Values by `call path`. The names in `masked`, such as an image's id, are replaced in texts."""

    def __init__(self, token: str, masked: Mapping[str, str]) -> None:
        self.values: dict[str, Value] = {}
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._masked = masked

    def call(self, name: str, method: Callable[..., Any], request: Any) -> Message | None:
        """Make a call and note what it shows. Returns its last message, None if it failed."""
        begin, last = time.perf_counter(), None
        try:
            if isinstance(method, grpc.UnaryStreamMultiCallable):
                call = method(request, metadata=self._metadata, timeout=TIMEOUT_S)
                for last in call:
                    self._event(name, last, begin)
            else:
                last, call = method.with_call(request, metadata=self._metadata, timeout=TIMEOUT_S)
                self._message(name, last)
        except grpc.RpcError as error:
            call = error
            self._note(f"{name} details", call.details() or "")
        self._note(f"{name} ms", 1e3 * (time.perf_counter() - begin))
        self._note(f"{name} code", call.code().name)
        for where, metadata in (("header", call.initial_metadata()), ("trailer", call.trailing_metadata())):
            for key, value in metadata or ():
                self._note(f"{name} {where}.{key}", float(len(value)) if isinstance(value, bytes) else value)
        return last

    def _event(self, name: str, message: Message, begin: float) -> None:
        """A message of a stream; the time of the first of each kind."""
        kind = f"{name} {message.WhichOneof('event')} ms"
        self.values.setdefault(kind, 1e3 * (time.perf_counter() - begin))
        self._message(name, message)

    def _message(self, path: str, message: Message) -> None:
        for name, value in leaves(message, path):
            self._note(name, value)

    def _note(self, name: str, value: Value) -> None:
        if isinstance(value, str):
            for text, mask in self._masked.items():
                value = value.replace(text, mask)
        self.values[name] = value


def leaves(message: Message, path: str) -> Iterator[tuple[str, Value]]:
    """Every field that is present; numbers as floats, enum values by name, lists with their length."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        many = value if field.is_repeated else [value]
        if field.is_repeated:
            yield f"{name}.length", float(len(value))
        for number, each in enumerate(_items(many)):
            place = f"{name}.{number}" if field.is_repeated else name
            if isinstance(each, Message):
                yield from leaves(each, place)
            elif field.enum_type is not None:
                yield place, str(field.enum_type.values_by_number[each].name)
            else:
                yield place, each if isinstance(each, str) else _number(each)


def _items(values: Any) -> Iterable[Any]:
    return sorted(values.items()) if isinstance(values, Mapping) else values


def _number(value: Any) -> Value:
    return value.hex() if isinstance(value, bytes) else float(value)
