"""What a worker answers about the text of an image. The caller believes nothing of it unchecked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from encoder_svc.images.replies import Reply
from encoder_svc.reading.engine import ReaderIdentity
from fovea.contract.errors import FoveaError, TextReaderMissing, TextTooCostly
from fovea.contract.text import MAX_LINES, ImageText, TextLine
from fovea.nursery.frames import FrameInvalid, Header

LINE_BYTES, ESCAPED = 256, 6
"""The most bytes that a line takes in a reply besides its text, and a byte of text, which may be escaped."""


def pack_lines(lines: Sequence[TextLine]) -> bytes:
    """For a reply, and for storage."""
    return json.dumps([asdict(line) for line in lines], separators=(",", ":")).encode()


def unpack_lines(data: bytes | bytearray | memoryview) -> tuple[TextLine, ...]:
    """Raises ValueError for anything that is not lines of text."""
    try:
        lines = tuple(TextLine(**line) for line in json.loads(bytes(data)))
        possible = ImageText(lines, "", "").possible
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError("no lines") from error
    if not possible:
        raise ValueError("impossible lines")
    return lines


@dataclass
class TextReply(Reply[ImageText]):
    """The text of an image, at most `max_bytes` long."""

    task = "text"
    reader: ReaderIdentity
    max_bytes: int
    _body: bytearray = field(default_factory=bytearray)

    def value(self, header: Header) -> ImageText:
        """Also raises TextReaderMissing and TextTooCostly."""
        error = self._failure(header)
        if error is not None:
            raise error
        return super().value(header)

    def _failure(self, header: Header) -> FoveaError | None:
        if "missing" in header:
            return TextReaderMissing(self.reader.name, f"{self.reader.name} cannot be loaded")
        return TextTooCostly("bytes of text", self.max_bytes) if "too_long" in header else None

    def _place(self, header: Header, body_bytes: int) -> bytearray:
        if body_bytes > ESCAPED * self.max_bytes + LINE_BYTES * MAX_LINES:
            raise FrameInvalid(f"{body_bytes} bytes of text")
        self._body = bytearray(body_bytes)
        return self._body

    def _value(self, header: Header) -> ImageText:
        try:
            text = ImageText(
                unpack_lines(self._body),
                self.reader.name,
                self.reader.version,
                cpu_ms=max(0.0, float(header["cpu_ms"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FrameInvalid("text that is none") from error
        if text.byte_count > self.max_bytes:
            raise FrameInvalid("more text than allowed")
        return text
