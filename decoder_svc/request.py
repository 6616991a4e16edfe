"""A request as the service hands it over, and what an answer is made of: plain values, no protobuf.

An image is given by its bytes or by the id of a stored one; its place in `messages` is its index in `images`.
"""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.core import Sampling
from decoder_svc.prompt.messages import Message
from fovea.geometry import Planned
from fovea.receipt import Receipt


@dataclass(frozen=True)
class ImageInput:
    """`data` is None where the caller named a stored image."""

    digest: str
    data: bytes | None = None


@dataclass(frozen=True)
class Ask:
    """One conversation to continue. `max_pixels` is None where the request leaves it to the server."""

    id: str
    messages: tuple[Message, ...]
    images: tuple[ImageInput, ...]
    sampling: Sampling
    max_pixels: int | None


@dataclass(frozen=True)
class PlannedImage:
    """An image with its size as a viewer shows it and what it becomes."""

    digest: str
    width: int
    height: int
    max_pixels: int
    planned: Planned
    tokens_full: int


@dataclass(frozen=True)
class Count:
    """What a request costs before anything runs."""

    text_tokens: int
    images: tuple[PlannedImage, ...]
    kv_bytes: int
    fits_context: bool

    @property
    def visual_tokens(self) -> int:
        return sum(image.planned.tokens for image in self.images)

    @property
    def prompt_tokens(self) -> int:
        return self.text_tokens + self.visual_tokens


@dataclass(frozen=True)
class Started:
    """The request was accepted."""

    prompt_tokens: int
    visual_tokens: int


@dataclass(frozen=True)
class Text:
    """More of the answer."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The answer is complete. `reason` is `stop` or `length`."""

    reason: str
    matched_stop: str
    receipt: Receipt


Event = Started | Text | Finished
