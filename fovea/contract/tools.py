"""Tools that the model may call, and its calls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fovea.contract.codec import EnumCodec
from fovea.contract.errors import InvalidArgument
from fovea.decoder.v1 import decoder_pb2


@dataclass(frozen=True)
class Tool:
    """A tool. `parameters` is the JSON schema of its arguments, as text; empty if it takes none.

    With `strict` the arguments are held to the schema during sampling, even if the model need not call it.
    """

    name: str
    description: str = ""
    parameters: str = ""
    strict: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        description: str = "",
        parameters: Mapping[str, Any] | None = None,
        strict: bool = False,
    ) -> Tool:
        """A tool whose schema is a dict."""
        return cls(name, description, json.dumps(parameters) if parameters else "", strict)


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool. `arguments` is JSON, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolCallDelta:
    """Part of a call. `id` and `name` come with the first part; the `arguments` of all parts add up."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ToolMode(StrEnum):
    """Whether the model calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


_MODE = EnumCodec(decoder_pb2.ToolMode, ToolMode)


@dataclass(frozen=True)
class ToolChoice:
    """Whether the model calls tools: as it decides, never, always, or always the tool of this `name`."""

    mode: ToolMode = ToolMode.AUTO
    name: str = ""

    @classmethod
    def of(cls, given: ToolChoice | ToolMode | str) -> ToolChoice:
        """`auto`, `none` or `required`; any other text is the name of a tool."""
        if isinstance(given, ToolChoice):
            return given
        modes = {mode.value: mode for mode in ToolMode}
        return cls(modes[given]) if given in modes else cls.named(given)

    @classmethod
    def named(cls, name: str) -> ToolChoice:
        return cls(ToolMode.REQUIRED, name)


@dataclass(frozen=True)
class ToolUse:
    """The tools of a request, and how the model may call them."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    parallel: bool = True

    @property
    def shown(self) -> tuple[Tool, ...]:
        """The tools that the prompt describes: none if none may be called."""
        return () if self.choice.mode is ToolMode.NONE else self.tools

    @property
    def forced(self) -> bool:
        """Whether the answer must be a call."""
        return self.choice.mode is ToolMode.REQUIRED

    @property
    def callable(self) -> tuple[tuple[int, Tool], ...]:
        """The tools that may be called, with their index in the request."""
        name = self.choice.name
        return tuple((at, tool) for at, tool in enumerate(self.shown) if not name or tool.name == name)


NO_TOOLS = ToolUse()


def merge_calls(deltas: Iterable[ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    """A delta for each call, with all of its parts."""
    merged: dict[int, ToolCallDelta] = {}
    for delta in deltas:
        before = merged.get(delta.index, ToolCallDelta(delta.index))
        merged[delta.index] = ToolCallDelta(
            delta.index,
            before.id or delta.id,
            before.name or delta.name,
            before.arguments + delta.arguments,
        )
    return tuple(merged[index] for index in sorted(merged))


def whole_calls(deltas: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call.id, call.name, call.arguments) for call in merge_calls(deltas))


def write_tools(use: ToolUse, request: decoder_pb2.GenerateRequest) -> None:
    """Set the fields of a request that differ from their defaults."""
    request.tools.extend(decoder_pb2.Tool(**vars(tool)) for tool in use.tools)
    if use.choice.name:
        request.tool_choice.name = use.choice.name
    elif use.choice != ToolChoice():
        request.tool_choice.mode = _MODE.to_proto(use.choice.mode)
    if not use.parallel:
        request.parallel_tool_calls = False


def read_tools(request: decoder_pb2.GenerateRequest) -> ToolUse:
    """The tools as sent, unchecked. Raises InvalidArgument for a choice that is none."""
    return ToolUse(
        tuple(Tool(t.name, t.description, t.parameters, t.strict) for t in request.tools),
        _read_choice(request.tool_choice),
        request.parallel_tool_calls if request.HasField("parallel_tool_calls") else True,
    )


def _read_choice(message: decoder_pb2.ToolChoice) -> ToolChoice:
    if message.WhichOneof("choice") == "name":
        if not message.name:
            raise InvalidArgument.of_field("tool_choice.name", "must name a tool of the request")
        return ToolChoice.named(message.name)
    if not _MODE.knows(message.mode):
        raise InvalidArgument.of_field(
            "tool_choice.mode", f"{message.mode} is not known", actual=message.mode
        )
    return ToolChoice(_MODE.from_proto(message.mode) or ToolMode.AUTO)


def calls_to_proto(calls: Sequence[ToolCall]) -> list[decoder_pb2.ToolCall]:
    return [decoder_pb2.ToolCall(**vars(call)) for call in calls]


def calls_from_proto(messages: Iterable[decoder_pb2.ToolCall]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call.id, call.name, call.arguments) for call in messages)


def deltas_to_proto(deltas: Sequence[ToolCallDelta]) -> list[decoder_pb2.ToolCallDelta]:
    return [decoder_pb2.ToolCallDelta(**vars(delta)) for delta in deltas]


def deltas_from_proto(messages: Iterable[decoder_pb2.ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    return tuple(ToolCallDelta(d.index, d.id, d.name, d.arguments) for d in messages)
