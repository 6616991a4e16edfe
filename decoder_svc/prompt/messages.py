"""Chat messages and their validation.

An image part is only an index into the images of the request. Independent of image bytes, grids and tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoder_svc.prompt.errors import (
    ImageNotInUserMessage,
    LastMessageNotUser,
    MessagesEmpty,
    MessageWithoutParts,
    RoleUnknown,
    SystemMessageNotFirst,
)

ROLES = ("system", "user", "assistant")


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
    """A turn of the chat; its parts are in prompt order."""

    role: str
    parts: tuple[Part, ...]


def validate(messages: Sequence[ChatMessage]) -> None:
    """Raise a MessagesInvalid that names the first invalid field."""
    if not messages:
        raise MessagesEmpty("messages")
    for at, message in enumerate(messages):
        _validate_message(message, at)
    if messages[-1].role != "user":
        raise LastMessageNotUser(f"messages[{len(messages) - 1}].role")


def _validate_message(message: ChatMessage, at: int) -> None:
    if message.role not in ROLES:
        raise RoleUnknown(f"messages[{at}].role")
    if message.role == "system" and at > 0:
        raise SystemMessageNotFirst(f"messages[{at}].role")
    if not message.parts:
        raise MessageWithoutParts(f"messages[{at}].parts")
    if message.role != "user":
        for i, part in enumerate(message.parts):
            if isinstance(part, ImagePart):
                raise ImageNotInUserMessage(f"messages[{at}].parts[{i}].image")


def image_indexes(messages: Sequence[ChatMessage]) -> tuple[int, ...]:
    """The index of every image part, in prompt order."""
    return tuple(part.index for message in messages for part in message.parts if isinstance(part, ImagePart))


def texts(messages: Sequence[ChatMessage]) -> tuple[str, ...]:
    """Every text part, in prompt order."""
    return tuple(part.text for message in messages for part in message.parts if isinstance(part, TextPart))
