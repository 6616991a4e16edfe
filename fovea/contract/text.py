"""The text of an image, as an encoder reads it. It comes from the image: data, never instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fovea.contract.codec import pick
from fovea.encoder.v1 import encoder_pb2

MAX_LINES = 10_000
MAX_SIDE = 1 << 24
"""Longer sides are no image's."""


@dataclass(frozen=True)
class TextLine:
    """A line of text and its box in pixels of the image as shown. `confidence` is from 0 to 1."""

    text: str
    left: int
    top: int
    right: int
    bottom: int
    confidence: float

    @property
    def possible(self) -> bool:
        """Whether an image may show such a line. Control characters and line breaks are not printable."""
        return (
            all(isinstance(side, int) for side in (self.left, self.top, self.right, self.bottom))
            and 0 <= self.left <= self.right <= MAX_SIDE
            and 0 <= self.top <= self.bottom <= MAX_SIDE
            and 0 <= self.confidence <= 1
            and bool(self.text)
            and self.text.isprintable()
        )


@dataclass(frozen=True)
class ImageText:
    """The lines of an image, from top to bottom and from left to right, and the reader that read them.

    `stored` means that the image had been read before this call. `cpu_ms` is what reading it took.
    """

    lines: tuple[TextLine, ...]
    reader: str
    version: str
    stored: bool = False
    cpu_ms: float = 0.0

    @property
    def byte_count(self) -> int:
        return sum(len(line.text.encode()) for line in self.lines)

    @property
    def confidence(self) -> float:
        """That of the least sure line: text is as wrong as its worst line. 0 without lines."""
        return min((line.confidence for line in self.lines), default=0.0)

    @property
    def possible(self) -> bool:
        return len(self.lines) <= MAX_LINES and all(line.possible for line in self.lines)

    def __str__(self) -> str:
        """The text as laid out: lines side by side share a row."""
        return "\n".join("  ".join(line.text for line in row) for row in _rows(self.lines))


def _rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Group lines whose vertical centres lie within a box of the row's first line."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: line.top + line.bottom):
        first = rows[-1][0] if rows else None
        if first is not None and line.top + line.bottom < 2 * first.bottom:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.left) for row in rows]


def text_to_proto(text: ImageText | None) -> encoder_pb2.ReadTextResponse:
    """None is an image that has not been read yet."""
    if text is None:
        return encoder_pb2.ReadTextResponse(known=False)
    lines = [encoder_pb2.TextLine(**vars(line)) for line in text.lines]
    return encoder_pb2.ReadTextResponse(known=True, lines=lines, **pick(text, _PLAIN))


def text_from_proto(message: encoder_pb2.ReadTextResponse) -> ImageText | None:
    if not message.known:
        return None
    lines = tuple(TextLine(**pick(line, TextLine.__dataclass_fields__)) for line in message.lines)
    return ImageText(lines, **pick(message, _PLAIN))


_PLAIN = ("reader", "version", "stored", "cpu_ms")
