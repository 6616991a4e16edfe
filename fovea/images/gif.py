"""GIF: the first frame on its screen, and whether the frame is complete.

A frame may be smaller than the screen. As in every browser, the rest of the screen is transparent, regardless
of the background colour and the palette. Comments, other extensions and later frames are ignored.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images.orientation import UPRIGHT
from fovea.images.still import Drawn, Still, guarded

MOST_BLOCKS = 1_000_000
"""Blocks that may precede the frame; a comment of 32 MiB has 131,072."""

_EXTENSION, _FRAME, _GRAPHIC_CONTROL = b"\x21", b"\x2c", b"\xf9"
_GREY = bytes(value for level in range(256) for value in (level, level, level))
"""The palette of a file that has none."""

Indices = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Gif(Still):
    """The first frame: `left` and `top` are its offset on the screen, `pixels` its compressed data."""

    format = "GIF"
    left: int
    top: int
    frame_width: int
    frame_height: int
    interlaced: bool
    palette: bytes
    transparent: int | None
    code_bits: int
    pixels: bytes

    def check_complete(self) -> None:
        """Raises ImageCorrupt if pixels are missing.

        Pillow leaves pixels unchanged where the data ends early, so a complete frame does not depend on the
        initial value.
        """
        if not np.array_equal(self._pixels, self._indices(255)):
            raise ImageCorrupt("GIF")

    def draw(self) -> Drawn:
        indices = self._pixels
        colours = np.array(bytearray(self.palette.ljust(3 * 256, b"\0"))).reshape(256, 3)
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


def read(data: bytes) -> Gif:
    """Raises ImageCorrupt if there is no frame."""
    file = io.BytesIO(data)
    file.seek(6)  # the signature
    width, height, flags = struct.unpack_from("<HHB", _taken(file, 7))
    palette = _palette(flags, file)
    transparent = _before_frame(file)
    left, top, frame_width, frame_height, frame_flags = struct.unpack("<HHHHB", _taken(file, 9))
    local = _palette(frame_flags, file)
    (code_bits,) = _taken(file, 1)
    # Like browsers: a frame without a size fills the screen, and the screen grows to its first frame.
    frame_width, frame_height = frame_width or width, frame_height or height
    if not frame_width or not frame_height:
        raise ImageCorrupt("GIF")
    return Gif(
        width=max(width, left + frame_width),
        height=max(height, top + frame_height),
        orientation=UPRIGHT,
        left=left,
        top=top,
        frame_width=frame_width,
        frame_height=frame_height,
        interlaced=bool(frame_flags & 0x40),
        palette=local or palette or _GREY,
        transparent=transparent,
        code_bits=code_bits,
        pixels=file.read(),
    )


def _taken(file: io.BytesIO, count: int) -> bytes:
    """The next bytes. Raises ImageCorrupt if the file ends early."""
    data = file.read(count)
    if len(data) < count:
        raise ImageCorrupt("GIF")
    return data


def _palette(flags: int, file: io.BytesIO) -> bytes:
    return _taken(file, 3 * (2 << (flags & 7)) if flags & 0x80 else 0)


def _before_frame(file: io.BytesIO) -> int | None:
    """The transparent index from the extensions before the first frame. Reads up to that frame."""
    transparent = None
    for _ in range(MOST_BLOCKS):
        introducer = file.read(1)
        if introducer == _FRAME:
            return transparent
        if introducer != _EXTENSION:
            raise ImageCorrupt("GIF")
        label, block = file.read(1), _first_block(file)
        if label == _GRAPHIC_CONTROL and len(block) == 4:
            flags, _, index = struct.unpack("<BHB", block)
            transparent = index if flags & 1 else None
    raise ImageCorrupt("GIF")


def _first_block(file: io.BytesIO) -> bytes:
    """The first of a chain of length-prefixed blocks. Reads the whole chain, which an empty block ends."""
    first = b""
    for _ in range(MOST_BLOCKS):
        length = file.read(1)
        if length in (b"", b"\0"):
            return first
        block = file.read(length[0])
        first = first or block
    raise ImageCorrupt("GIF")
