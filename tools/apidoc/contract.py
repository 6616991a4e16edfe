"""The contract as plain values: packages, services, calls, messages, fields and enums, each with its comment.

Reads a descriptor set that protoc writes with source info. Knows nothing of Markdown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

# The numbers of the fields that paths in SourceCodeInfo are made of.
_PACKAGE = FileDescriptorProto.PACKAGE_FIELD_NUMBER
_MESSAGE = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
_ENUM = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
_SERVICE = FileDescriptorProto.SERVICE_FIELD_NUMBER
_FIELD = DescriptorProto.FIELD_FIELD_NUMBER
_ONEOF = DescriptorProto.ONEOF_DECL_FIELD_NUMBER
_VALUE = EnumDescriptorProto.VALUE_FIELD_NUMBER
_METHOD = ServiceDescriptorProto.METHOD_FIELD_NUMBER

Path_ = tuple[int, ...]


@dataclass(frozen=True)
class Type:
    """A type by its full name, or by its word where it is a scalar."""

    name: str
    repeated: bool = False
    streamed: bool = False


@dataclass(frozen=True)
class Call:
    """One RPC."""

    name: str
    request: Type
    response: Type
    comment: str


@dataclass(frozen=True)
class Service:
    """One service and its calls."""

    full_name: str
    comment: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Field:
    """A field of a message. `oneof` is the name of the choice it belongs to, or empty."""

    name: str
    number: int
    type: Type
    comment: str
    optional: bool
    oneof: str


@dataclass(frozen=True)
class Message:
    """One message; `oneofs` holds the comment of each choice by its name."""

    full_name: str
    comment: str
    fields: tuple[Field, ...]
    oneofs: dict[str, str]


@dataclass(frozen=True)
class Value:
    """A value of an enum."""

    name: str
    number: int
    comment: str


@dataclass(frozen=True)
class Enum:
    """One enum."""

    full_name: str
    comment: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Package:
    """The files of one package, taken together."""

    name: str
    comments: tuple[str, ...]
    services: tuple[Service, ...]
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]


def packages(protos: Path) -> list[Package]:
    """Every package below `protos`: those with a service first, then by name. Raises CalledProcessError."""
    files: dict[str, list[_File]] = {}
    for proto in _descriptors(protos).file:
        files.setdefault(proto.package, []).append(_File(proto))
    found = [_package(name, parts) for name, parts in files.items()]
    return sorted(found, key=lambda package: (not package.services, package.name))


def _descriptors(protos: Path) -> FileDescriptorSet:
    names = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "contract.binpb"
        flags = [f"-I{protos}", "--include_source_info", f"--descriptor_set_out={made}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *flags, *names], check=True)
        return FileDescriptorSet.FromString(made.read_bytes())


def _package(name: str, files: Iterable[_File]) -> Package:
    """The file with the service opens the package; the others follow in their order."""
    parts = sorted(files, key=lambda file: not file.has_service)
    return Package(
        name,
        tuple(comment for file in parts if (comment := file.comment(_PACKAGE))),
        tuple(service for file in parts for service in file.services()),
        tuple(message for file in parts for message in file.messages()),
        tuple(enum for file in parts for enum in file.enums()),
    )


class _File:
    """One proto file, and the comments in front of its parts by their path."""

    def __init__(self, proto: FileDescriptorProto) -> None:
        self._proto = proto
        self._comments = {
            tuple(place.path): " ".join(place.leading_comments.split())
            for place in proto.source_code_info.location
        }

    def comment(self, *path: int) -> str:
        return self._comments.get(path, "")

    @property
    def has_service(self) -> bool:
        return bool(self._proto.service)

    def services(self) -> Iterator[Service]:
        for i, service in enumerate(self._proto.service):
            calls = tuple(
                Call(
                    method.name,
                    Type(method.input_type.lstrip("."), streamed=method.client_streaming),
                    Type(method.output_type.lstrip("."), streamed=method.server_streaming),
                    self.comment(_SERVICE, i, _METHOD, j),
                )
                for j, method in enumerate(service.method)
            )
            yield Service(self._full(service.name), self.comment(_SERVICE, i), calls)

    def messages(self) -> Iterator[Message]:
        for i, message in enumerate(self._proto.message_type):
            nested = [each for each in message.nested_type if not each.options.map_entry]
            if nested or message.enum_type:
                raise ValueError(f"{message.name}: this page has no place for nested types")
            fields = tuple(
                self._field(message, field, (_MESSAGE, i, _FIELD, j)) for j, field in enumerate(message.field)
            )
            choices = {
                choice.name: self.comment(_MESSAGE, i, _ONEOF, j)
                for j, choice in enumerate(message.oneof_decl)
                if any(field.oneof == choice.name for field in fields)
            }
            yield Message(self._full(message.name), self.comment(_MESSAGE, i), fields, choices)

    def enums(self) -> Iterator[Enum]:
        for i, enum in enumerate(self._proto.enum_type):
            values = tuple(
                Value(value.name, value.number, self.comment(_ENUM, i, _VALUE, j))
                for j, value in enumerate(enum.value)
            )
            yield Enum(self._full(enum.name), self.comment(_ENUM, i), values)

    def _field(self, message: DescriptorProto, field: FieldDescriptorProto, path: Path_) -> Field:
        # What `optional` means is written as a choice of one field; it is none for a reader.
        chosen = field.HasField("oneof_index") and not field.proto3_optional
        return Field(
            field.name,
            field.number,
            _map_type(message, field)
            or Type(_type_name(field), repeated=field.label == FieldDescriptorProto.LABEL_REPEATED),
            self.comment(*path),
            field.proto3_optional,
            message.oneof_decl[field.oneof_index].name if chosen else "",
        )

    def _full(self, name: str) -> str:
        return f"{self._proto.package}.{name}"


def _map_type(message: DescriptorProto, field: FieldDescriptorProto) -> Type | None:
    """The type of a map, which is written as a repeated message of keys and values. None for other fields."""
    for entry in message.nested_type:
        if entry.options.map_entry and field.type_name.endswith(f".{message.name}.{entry.name}"):
            return Type(f"map<{', '.join(map(_type_name, entry.field))}>")
    return None


def _type_name(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return field.type_name.lstrip(".")
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
