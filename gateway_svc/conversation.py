"""A conversation as the gateway's APIs send it: turns of text and pictures, before any picture is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fovea.client import Image, Message
from fovea.contract.budget import Detail
from fovea.contract.tools import ToolCall
from gateway_svc.fields import wrong

Role = Literal["system", "user", "assistant", "tool"]
DETAILS = ("auto", "low", "high")


@dataclass(frozen=True)
class Picture:
    """A picture of a message: a data URI, an http(s) URL, or the id of a file. `path` is its field."""

    source: str
    path: str
    detail: str = ""


@dataclass(frozen=True)
class Turn:
    """A message."""

    role: Role
    parts: Sequence[str | Picture] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""

    def with_images(self, images: Iterator[Image]) -> Message:
        """The message for the client; `images` stand for the pictures, in order."""
        parts = [part if isinstance(part, str) else next(images) for part in self.parts]
        return Message(
            self.role,
            parts,
            tool_calls=self.tool_calls,
            tool_call_id=self.tool_call_id,
            reasoning=self.reasoning,
        )


@dataclass(frozen=True)
class Conversation:
    """The turns of a request."""

    turns: Sequence[Turn] = field(default_factory=tuple)

    @property
    def pictures(self) -> list[Picture]:
        return [part for turn in self.turns for part in turn.parts if isinstance(part, Picture)]

    def detail(self) -> Detail | None:
        """The detail of all pictures. Raises InvalidArgument if they differ: a request has one budget."""
        chosen = [picture for picture in self.pictures if picture.detail]
        for picture in chosen[1:]:
            if picture.detail != chosen[0].detail:
                raise wrong(
                    f"{picture.path}.detail",
                    f"is {picture.detail}, and that of {chosen[0].path} is {chosen[0].detail}:"
                    " all images of a request have the same detail",
                )
        return Detail(chosen[0].detail) if chosen else None

    def messages(self, images: Sequence[Image]) -> list[Message]:
        """The messages for the client, with an image for each picture."""
        left = iter(images)
        return [turn.with_images(left) for turn in self.turns]


def merged_system(turns: Sequence[Turn]) -> list[Turn]:
    """Consecutive instructions at the beginning as a single turn: the contract has one system message."""
    leading = 0
    while leading < len(turns) and turns[leading].role == "system":
        leading += 1
    if leading < 2:
        return list(turns)
    parts: list[str | Picture] = []
    for turn in turns[:leading]:
        parts += [*(["\n\n"] if parts else []), *turn.parts]
    return [replace(turns[0], parts=parts), *turns[leading:]]
