"""Images that stand in a request twice: found by their ids, before anything is asked of an encoder.

Each different image is located, planned and fetched once. Its later copies keep their tokens or become a
line of text, so that the model is told of every image the caller sent. Knows no size and no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoder_svc.prompt.messages import ChatMessage, ImagePart, Part, TextPart
from decoder_svc.request import ImageInput
from fovea.contract.budget import RepeatPolicy


@dataclass(frozen=True)
class RepeatedImages:
    """Where the images of a request stand.

    `firsts` holds, for each place, the place of the first copy of its image; `different` are the places that
    are their own first. Of `frames` of a video only what is new is kept, and nothing of a copy is.
    """

    firsts: tuple[int, ...]
    policy: RepeatPolicy | None
    frames: bool = False

    @classmethod
    def of(
        cls, images: Sequence[ImageInput], policy: RepeatPolicy | None, frames: bool = False
    ) -> RepeatedImages:
        """An image of which only the size is known repeats none."""
        seen: dict[str, int] = {}
        firsts = (
            seen.setdefault(image.digest, place) if image.digest else place
            for place, image in enumerate(images)
        )
        return cls(tuple(firsts), RepeatPolicy.REFERENCE if frames else policy, frames)

    @property
    def different(self) -> tuple[int, ...]:
        return tuple(place for place, first in enumerate(self.firsts) if place == first)

    def number(self, place: int) -> int:
        """Which of the different images stands there."""
        return self.different.index(self.firsts[place])

    def repeats(self, place: int) -> int | None:
        """The place of the earlier copy; None where there is none."""
        first = self.firsts[place]
        return first if first < place else None

    def referred(self, place: int) -> bool:
        """Whether a line of text stands there instead of the image."""
        return self.policy is RepeatPolicy.REFERENCE and self.repeats(place) is not None

    def times(self, place: int) -> int:
        """In how many places the tokens of the image that is first there stand."""
        return 1 if self.policy is RepeatPolicy.REFERENCE else self.firsts.count(place)

    def messages(self, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
        """The chat in which an image part names one of the different images."""
        return tuple(ChatMessage(one.role, tuple(self._part(part) for part in one.parts)) for one in messages)

    def _part(self, part: Part) -> Part:
        if isinstance(part, TextPart):
            return part
        if self.referred(part.index):
            return TextPart(self._reference(part.index))
        return ImagePart(self.number(part.index))

    def _reference(self, place: int) -> str:
        """Short where a frame equals the one before it: a static video must cost little."""
        if self.frames and self.firsts[place] == self.firsts[place - 1]:
            return "(unchanged) "
        return f"(the same image as image {self.firsts[place] + 1}) "
