"""Repeated images of a request, detected by digest before any encoder is called.

Each distinct image is located, planned and fetched once. Its repeats keep their tokens or become a line of
text, so that every image the caller sent appears in the prompt. Independent of sizes and rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from decoder_svc.prompt.messages import ChatMessage, ImagePart, Part, TextPart
from decoder_svc.request import ImageInput
from fovea.contract.budget import RepeatPolicy


@dataclass(frozen=True)
class RepeatedImages:
    """The places of a request's images.

    `firsts` holds for each place the first place of the same image; `distinct` lists the first places.
    With `frames` the images are video frames: repeats always become references.
    """

    firsts: tuple[int, ...]
    policy: RepeatPolicy | None
    frames: bool = False

    @classmethod
    def of(
        cls, images: Sequence[ImageInput], policy: RepeatPolicy | None, frames: bool = False
    ) -> RepeatedImages:
        """An image given only by its size is never a repeat."""
        seen: dict[str, int] = {}
        firsts = (
            seen.setdefault(image.digest, place) if image.digest else place
            for place, image in enumerate(images)
        )
        return cls(tuple(firsts), RepeatPolicy.REFERENCE if frames else policy, frames)

    @property
    def distinct(self) -> tuple[int, ...]:
        return tuple(place for place, first in enumerate(self.firsts) if place == first)

    def number(self, place: int) -> int:
        """The index, among the distinct images, of the image at `place`."""
        return self.distinct.index(self.firsts[place])

    def earlier(self, place: int) -> int | None:
        """The place of the first copy; None at the first copy itself."""
        first = self.firsts[place]
        return first if first < place else None

    def referred(self, place: int) -> bool:
        """Whether a line of text replaces the image at `place`."""
        return self.policy is RepeatPolicy.REFERENCE and self.earlier(place) is not None

    def times(self, place: int) -> int:
        """The number of places that hold tokens of the image first shown at `place`."""
        return 1 if self.policy is RepeatPolicy.REFERENCE else self.firsts.count(place)

    def messages(self, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
        """The chat with image parts that index the distinct images."""
        return tuple(
            replace(message, parts=tuple(self._part(part) for part in message.parts)) for message in messages
        )

    def _part(self, part: Part) -> Part:
        if isinstance(part, TextPart):
            return part
        if self.referred(part.index):
            return TextPart(self._reference(part.index))
        return ImagePart(self.number(part.index))

    def _reference(self, place: int) -> str:
        """The line of text. Short if a frame equals the previous frame: a static video must cost little."""
        if self.frames and self.firsts[place] == self.firsts[place - 1]:
            return "(unchanged) "
        return f"(the same image as image {self.firsts[place] + 1}) "
