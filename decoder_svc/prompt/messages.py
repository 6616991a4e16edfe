"""Chat messages and their validation.

An image part is only an index into the images of the request. Independent of image bytes, grids and tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from decoder_svc.prompt.errors import (
    ImageNotInUserMessage,
    LastMessageNotUser,
    MessagesEmpty,
    MessageWithoutParts,
    NothingToContinue,
    NotOfThisRole,
    RoleUnknown,
    SystemMessageNotFirst,
    ToolCallUnknown,
)
from fovea.contract.tools import Tool, ToolCall

ROLES = ("system", "user", "assistant", "tool")
WITH_IMAGES = ("user", "tool")


@dataclass(frozen=True)
class TextPart:
    """Text exactly as the caller wrote it; it never becomes a control token."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """The place of image `index` of the request. Several parts may show the same image."""

    index: int


Part = TextPart | ImagePart


@dataclass(frozen=True)
class ChatMessage:
    """A turn of the chat; its parts are in prompt order.

    An assistant's turn may have `tool_calls`, and the `reasoning` before it. A tool's turn is the result of
    the call `tool_call_id`.
    """

    role: str
    parts: tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""


@dataclass(frozen=True)
class ChatOptions:
    """What the chat template gets besides the messages.

    `tools` are those that the prompt describes. `thinking` None leaves it to the template. With
    `continue_final` the prompt ends with the text of the last message, which is the assistant's.
    """

    tools: tuple[Tool, ...] = ()
    thinking: bool | None = None
    continue_final: bool = False


PLAIN = ChatOptions()


def validate(messages: Sequence[ChatMessage], options: ChatOptions = PLAIN) -> None:
    """Raise a MessagesInvalid that names the first invalid field."""
    if not messages:
        raise MessagesEmpty("messages")
    called: set[str] = set()
    for at, message in enumerate(messages):
        _validate_message(message, f"messages[{at}]", at, called)
        called.update(call.id for call in message.tool_calls)
    last, path = messages[-1], f"messages[{len(messages) - 1}]"
    if options.continue_final:
        if last.role != "assistant" or last.tool_calls or not last.parts:
            raise NothingToContinue(path)
    elif last.role not in WITH_IMAGES:
        raise LastMessageNotUser(f"{path}.role")


def _validate_message(message: ChatMessage, path: str, at: int, called: set[str]) -> None:
    """`called` are the ids of the tool calls before it."""
    if message.role not in ROLES:
        raise RoleUnknown(f"{path}.role")
    if message.role == "system" and at > 0:
        raise SystemMessageNotFirst(f"{path}.role")
    for field in _of_other_roles(message):
        raise NotOfThisRole(f"{path}.{field}")
    if message.role == "tool" and message.tool_call_id not in called:
        raise ToolCallUnknown(f"{path}.tool_call_id")
    if not message.parts and not message.tool_calls:
        raise MessageWithoutParts(f"{path}.parts")
    if message.role not in WITH_IMAGES:
        for i, part in enumerate(message.parts):
            if isinstance(part, ImagePart):
                raise ImageNotInUserMessage(f"{path}.parts[{i}].image")


def _of_other_roles(message: ChatMessage) -> Iterator[str]:
    """The fields that are set and that messages of this role do not have."""
    if message.role != "assistant":
        yield from (field for field in ("tool_calls", "reasoning") if getattr(message, field))
    if message.role != "tool" and message.tool_call_id:
        yield "tool_call_id"


def image_indexes(messages: Sequence[ChatMessage]) -> tuple[int, ...]:
    """The index of every image part, in prompt order."""
    return tuple(part.index for message in messages for part in message.parts if isinstance(part, ImagePart))


def texts(messages: Sequence[ChatMessage]) -> Iterator[str]:
    """Every text of the messages, with the arguments of tool calls."""
    for message in messages:
        yield message.reasoning
        yield from (part.text for part in message.parts if isinstance(part, TextPart))
        yield from (call.arguments for call in message.tool_calls)


def tool_texts(tools: Sequence[Tool]) -> Iterator[str]:
    """Every text of the tools."""
    for tool in tools:
        yield from (tool.name, tool.description, tool.parameters)
