"""The chat as the service hands it over: messages of parts, and what makes a chat well-formed.

An image is only an index here, into the images of the request; this module knows no bytes, grids or tokens.
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
    """Text exactly as the caller wrote it. Whatever it spells, it is text."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """The place of image `index` of the request. One image may stand in several places."""

    index: int


Part = TextPart | ImagePart


@dataclass(frozen=True)
class ChatMessage:
    """One turn of the chat; its parts in the order in which the model reads them."""

    role: str
    parts: tuple[Part, ...]


def validate(messages: Sequence[ChatMessage]) -> None:
    """Raise a MessagesInvalid that names the first field in the way of a prompt."""
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
    """The image index of every image place, in the order of the prompt."""
    return tuple(part.index for message in messages for part in message.parts if isinstance(part, ImagePart))


def texts(messages: Sequence[ChatMessage]) -> tuple[str, ...]:
    """Every text part, in the order of the prompt."""
    return tuple(part.text for message in messages for part in message.parts if isinstance(part, TextPart))
