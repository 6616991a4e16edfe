"""What the codecs of the contract share: enums by name, and the plain fields of a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

E = TypeVar("E", bound=Enum)


class EnumCodec(Generic[E]):
    """Maps a protobuf enum to an Enum whose member names are the protobuf names without prefix.

    The protobuf number 0 (`..._UNSPECIFIED`) maps to None.
    """

    def __init__(self, proto: Any, members: type[E]) -> None:
        prefix = str(proto.Name(0)).removesuffix("UNSPECIFIED")
        self._numbers: Mapping[E, int] = {member: proto.Value(f"{prefix}{member.name}") for member in members}
        self._type = members
        self._members = {number: member for member, number in self._numbers.items()}

    def to_proto(self, member: E | None) -> Any:
        return 0 if member is None else self._numbers[member]

    def from_proto(self, number: int) -> E | None:
        """None if unset, or if the number belongs to a newer version."""
        return self._members.get(number)

    def knows(self, number: int) -> bool:
        """Whether the number is unset or names a member of this version."""
        return not number or number in self._members

    def coerce(self, value: E | str | None) -> E | None:
        """The member for a caller's string; None for None and the empty string.

        Raises ValueError for an unknown value.
        """
        return self._type(value) if value else None


def pick(source: object, names: Iterable[str]) -> dict[str, Any]:
    """Attributes by name: the fields that a value and its message have in common."""
    return {name: getattr(source, name) for name in names}


def scalar_fields(message: Any) -> dict[str, Any]:
    """The singular scalar fields of a message by name."""
    return {
        field.name: getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
        if field.message_type is None and not field.is_repeated
    }
