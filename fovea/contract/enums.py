"""Words of the contract's enums: protobuf numbers to `StrEnum` members and back, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar

E = TypeVar("E", bound=StrEnum)


class EnumCodec(Generic[E]):
    """Between a protobuf enum and a StrEnum whose member names are the protobuf names without their prefix.

    The protobuf number 0 (`..._UNSPECIFIED`) is None here.
    """

    def __init__(self, proto: Any, members: type[E]) -> None:
        prefix = str(proto.Name(0)).removesuffix("UNSPECIFIED")
        self._numbers: Mapping[E, int] = {one: proto.Value(f"{prefix}{one.name}") for one in members}
        self._members = {number: one for one, number in self._numbers.items()}

    def to_proto(self, member: E | None) -> Any:
        return 0 if member is None else self._numbers[member]

    def from_proto(self, number: int) -> E | None:
        """None where nothing is set, and for a number that a newer version sends."""
        return self._members.get(number)

    def knows(self, number: int) -> bool:
        """Whether the number is unset or names a member of this version."""
        return not number or number in self._members


def coerce(members: Callable[[Any], E], word: E | str | None) -> E | None:
    """The member for a word as a caller writes it; None and the empty string are None.

    Raises ValueError for a word that the contract does not have.
    """
    return members(word) if word else None
