"""The contract as one Markdown page: contents, then package by package its calls, messages and enums.

Knows nothing of protobuf; it is given plain values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tools.apidoc.contract import Call, Enum, Field, Message, Package, Service, Type

HEADER = """# The contract

Made by `make proto` from [`protos/`](../protos/fovea); what is changed here is overwritten. The comments
of the protos are the reference, and this page is those comments.

What is tagged only grows: `make lint` holds the protos against the contract of the last tag, which lies
in [`protos/baseline/`](../protos/baseline) under the name of the tag. `make baseline TAG=v1.2.3` writes
it anew; it is run when a tag is set, and never to make a failing check pass.

Errors carry a `google.rpc.ErrorInfo` whose `reason` is one of
[ErrorReason](#fovea.vision.v1.ErrorReason). [grpcurl.md](grpcurl.md) shows the calls from a shell."""


def render(packages: Sequence[Package]) -> str:
    """The whole page."""
    known = {message.full_name for package in packages for message in package.messages}
    known |= {enum.full_name for package in packages for enum in package.enums}
    lines = [HEADER, "", "## Contents", "", *_contents(packages)]
    for package in packages:
        lines += ["", *_package(package, known)]
    return "\n".join(lines) + "\n"


def _contents(packages: Iterable[Package]) -> Iterator[str]:
    for package in packages:
        yield f"- [{package.name}](#{package.name})"
        for word, parts in (
            ("services", package.services),
            ("messages", package.messages),
            ("enums", package.enums),
        ):
            if parts:
                yield f"  - {word}: " + ", ".join(_link(part.full_name) for part in parts)


def _package(package: Package, known: set[str]) -> Iterator[str]:
    yield from _heading(2, package.name, package.name)
    for comment in package.comments:
        yield from ("", comment)
    for service in package.services:
        yield from ("", *_service(service, known))
    for message in package.messages:
        yield from ("", *_message(message, known))
    for enum in package.enums:
        yield from ("", *_enum(enum))


def _service(service: Service, known: set[str]) -> Iterator[str]:
    yield from _heading(3, service.full_name, f"service {_short(service.full_name)}")
    yield from ("", service.comment, "", "| call | takes | returns | |", "|---|---|---|---|")
    for call in service.calls:
        yield _call(call, known)


def _call(call: Call, known: set[str]) -> str:
    return _row(f"`{call.name}`", _type(call.request, known), _type(call.response, known), call.comment)


def _message(message: Message, known: set[str]) -> Iterator[str]:
    yield from _heading(3, message.full_name, _short(message.full_name))
    yield from ("", message.comment)
    for name, comment in message.oneofs.items():
        chosen = ", ".join(f"`{field.name}`" for field in message.fields if field.oneof == name)
        yield from ("", f"At most one of {chosen} is set (`{name}`): {comment}")
    if message.fields:
        yield from ("", "| no. | field | type | |", "|---|---|---|---|")
    for field in message.fields:
        yield _field(field, known)


def _field(field: Field, known: set[str]) -> str:
    optional = "optional " if field.optional else ""
    return _row(str(field.number), f"`{field.name}`", optional + _type(field.type, known), field.comment)


def _enum(enum: Enum) -> Iterator[str]:
    yield from _heading(3, enum.full_name, f"enum {_short(enum.full_name)}")
    yield from ("", enum.comment, "", "| no. | value | |", "|---|---|---|")
    for value in enum.values:
        yield _row(str(value.number), f"`{value.name}`", value.comment)


def _heading(level: int, anchor: str, title: str) -> Iterator[str]:
    """With an anchor of its own: some names stand in two packages, and theirs would depend on the order."""
    yield f'<a id="{anchor}"></a>'
    yield ""
    yield f"{'#' * level} {title}"


def _type(type: Type, known: set[str]) -> str:
    word = ("stream " if type.streamed else "") + ("repeated " if type.repeated else "")
    return word + (_link(type.name) if type.name in known else f"`{type.name}`")


def _link(full_name: str) -> str:
    return f"[{_short(full_name)}](#{full_name})"


def _short(full_name: str) -> str:
    return full_name.rsplit(".", 1)[-1]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
