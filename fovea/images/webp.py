"""WebP: the chunks of the first image, as a file of their own.

Profiles, metadata, unknown chunks, later frames and wrong file lengths never decide whether an image is
shown. libwebp refuses truncated images.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images import metadata
from fovea.images.still import Drawn, Still, flat, loaded

MOST_CHUNKS = 100_000

_ANIMATED, _ALPHA = 0x02, 0x10
_FRAME_HEADER = 16

Chunks = list[tuple[bytes, bytes]]
"""Name and body of each chunk."""


@dataclass(frozen=True)
class Webp(Still):
    """`file` holds the first image only."""

    format = "WEBP"
    file: bytes

    @cached_property
    def _image(self) -> Image.Image:
        return loaded(self.file, "WEBP")

    def check_complete(self) -> None:
        self._image.load()

    def draw(self) -> Drawn:
        return flat(self._image)


def read(data: bytes) -> Webp:
    """Raises ImageCorrupt if there is no image."""
    chunks = list(_chunks(data, 12))
    first_by_name = dict(reversed(chunks))
    kept = _kept(chunks, first_by_name)
    body = b"WEBP" + b"".join(_written(*chunk) for chunk in kept)
    turned = metadata.orientation_of_webp(first_by_name.get(b"EXIF", b""), first_by_name.get(b"XMP ", b""))
    return Webp(*_size(kept), turned, b"RIFF" + struct.pack("<I", len(body)) + body)


def _kept(chunks: Chunks, first_by_name: dict[bytes, bytes]) -> Chunks:
    """The header without metadata flags, and the chunks of the first image."""
    header = first_by_name.get(b"VP8X", b"")
    if not header:
        return _picture(chunks)
    if len(header) < 10:
        raise ImageCorrupt("WEBP")
    flags = header[0] & (_ANIMATED | _ALPHA)
    kept: Chunks = [(b"VP8X", bytes([flags, 0, 0, 0]) + header[4:10])]
    if not flags & _ANIMATED:
        return kept + _picture(chunks)
    frame = first_by_name.get(b"ANMF", b"")
    picture = b"".join(_written(*chunk) for chunk in _picture(list(_chunks(frame, _FRAME_HEADER))))
    # Background colour and loop count do not affect a first frame.
    return [*kept, (b"ANIM", bytes(6)), (b"ANMF", frame[:_FRAME_HEADER] + picture)]


def _picture(chunks: Chunks) -> Chunks:
    """The bitstream chunk, preceded by the alpha chunk of a lossy image."""
    alpha: Chunks = []
    for name, body in chunks:
        if name in (b"VP8 ", b"VP8L"):
            return [*(alpha if name == b"VP8 " else []), (name, body)]
        if name == b"ALPH" and not alpha:
            alpha = [(name, body)]
    raise ImageCorrupt("WEBP")


def _size(kept: Chunks) -> tuple[int, int]:
    """(width, height) of the canvas."""
    name, body = kept[0][0], kept[0][1].ljust(10, b"\0")
    if name == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    name, body = kept[-1][0], kept[-1][1].ljust(10, b"\0")
    if name == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    if not width & 0x3FFF or not height & 0x3FFF:
        raise ImageCorrupt("WEBP")
    return width & 0x3FFF, height & 0x3FFF


def _chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """The chunks from `at` on; the last may be truncated."""
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)
    raise ImageCorrupt("WEBP")


def _written(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
