"""GIF: the first frame on its screen, and whether the frame is complete.

A frame may be smaller than the screen. As in every browser, the rest of the screen is transparent, regardless
of the background colour and the palette. Comments, other extensions and later frames are ignored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images.orientation import UPRIGHT
from fovea.images.still import Drawn, guarded

MOST_BLOCKS = 1_000_000
"""Blocks that may precede the frame; a comment of 32 MiB has 131,072."""

_EXTENSION, _FRAME, _GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9
_GREY = bytes(value for level in range(256) for value in (level, level, level))
"""The palette of a file without one."""

Indices = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Gif:
    """The first frame: `left` and `top` are its offset on the screen, `pixels` its compressed data."""

    width: int
    height: int
    left: int
    top: int
    frame_width: int
    frame_height: int
    interlaced: bool
    palette: bytes
    transparent: int | None
    code_bits: int
    pixels: bytes
    orientation: int = UPRIGHT
    format: str = "GIF"

    def check_complete(self) -> None:
        """Raises ImageCorrupt if pixels are missing.

        Pillow leaves pixels unchanged where the data ends early, so a complete frame does not depend on the
        initial value.
        """
        if not np.array_equal(self._pixels, self._indices(255)):
            raise ImageCorrupt("GIF")

    def draw(self) -> Drawn:
        indices = self._pixels
        colours = np.zeros((256, 3), np.uint8)
        table = np.frombuffer(self.palette, np.uint8).reshape(-1, 3)
        colours[: len(table)] = table
        had_alpha = False
        if self.transparent is not None:
            colours[self.transparent] = 255
            had_alpha = bool((indices == self.transparent).any())
        if indices.shape != (self.height, self.width):
            canvas = Image.new("RGB", (self.width, self.height), (255, 255, 255))
            canvas.paste(Image.fromarray(colours[indices]), (self.left, self.top))
            return Drawn(canvas, True)
        return Drawn(Image.fromarray(colours[indices]), had_alpha)

    @cached_property
    def _pixels(self) -> Indices:
        return self._indices(0)

    def _indices(self, ground: int) -> Indices:
        """The colour index of each pixel of the frame; `ground` where the data has none."""
        image = Image.new("P", (self.frame_width, self.frame_height), ground)
        with guarded("GIF"):
            # Without a transparent index: the decoder would skip its pixels.
            image.frombytes(self.pixels, "gif", self.code_bits, int(self.interlaced), -1)
        return np.asarray(image)


@dataclass(frozen=True)
class _Reader:
    """An offset in the file. Raises ImageCorrupt if the file ends early."""

    data: bytes
    at: int

    def take(self, count: int) -> tuple[bytes, _Reader]:
        end = self.at + count
        if end > len(self.data):
            raise ImageCorrupt("GIF")
        return self.data[self.at : end], replace(self, at=end)


def read(data: bytes) -> Gif:
    """Raises ImageCorrupt if there is no frame."""
    (screen, reader) = _Reader(data, 6).take(7)
    width, height, flags = struct.unpack_from("<HHB", screen)
    palette, reader = _palette(flags, reader)
    transparent, reader = _before_frame(reader)
    frame, reader = reader.take(9)
    left, top, frame_width, frame_height, frame_flags = struct.unpack("<HHHHB", frame)
    local, reader = _palette(frame_flags, reader)
    (code_bits,), reader = reader.take(1)
    # Like browsers: a frame without a size fills the screen, and the screen grows to its first frame.
    frame_width, frame_height = frame_width or width, frame_height or height
    if not frame_width or not frame_height:
        raise ImageCorrupt("GIF")
    return Gif(
        width=max(width, left + frame_width),
        height=max(height, top + frame_height),
        left=left,
        top=top,
        frame_width=frame_width,
        frame_height=frame_height,
        interlaced=bool(frame_flags & 0x40),
        palette=local or palette or _GREY,
        transparent=transparent,
        code_bits=code_bits,
        pixels=data[reader.at :],
    )


def _palette(flags: int, reader: _Reader) -> tuple[bytes, _Reader]:
    return reader.take(3 * (2 << (flags & 7)) if flags & 0x80 else 0)


def _before_frame(reader: _Reader) -> tuple[int | None, _Reader]:
    """The transparent index from the extensions before the first frame, and the frame's offset."""
    data, at, transparent = reader.data, reader.at, None
    for _ in range(MOST_BLOCKS):
        introducer, label = data[at : at + 1], data[at + 1 : at + 2]
        if introducer == bytes([_FRAME]):
            return transparent, replace(reader, at=at + 1)
        if introducer != bytes([_EXTENSION]):
            raise ImageCorrupt("GIF")
        at += 2
        if label == bytes([_GRAPHIC_CONTROL]) and data[at : at + 1] == b"\4":
            flags, _, index = struct.unpack_from("<BHB", data.ljust(at + 5, b"\0"), at + 1)
            transparent = index if flags & 1 else None
        at = _behind_blocks(data, at)
    raise ImageCorrupt("GIF")


def _behind_blocks(data: bytes, at: int) -> int:
    """The offset after a chain of length-prefixed blocks, which ends with an empty block."""
    for _ in range(MOST_BLOCKS):
        if at >= len(data) or not data[at]:
            return at + 1
        at += 1 + data[at]
    raise ImageCorrupt("GIF")
