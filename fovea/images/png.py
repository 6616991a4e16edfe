"""PNG: the chunks that determine pixels, completeness, and the transparent colour.

Ancillary chunks never decide whether an image is shown, so only IHDR, PLTE, tRNS and IDAT reach Pillow. The
transparent colour of grey and RGB images is compared here: Pillow compares 16-bit RGB by the low byte and
does not scale grey of 2 and 4 bits.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images import metadata
from fovea.images.still import Drawn, Still, eight_bits, flat, guarded, loaded, whitened

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 50_000
"""A file of 32 MiB has 4,096 IDAT chunks of 8 KiB. Unbounded empty chunks would cost seconds of CPU."""

_GREY, _RGB, _PALETTE = 0, 2, 3
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, 4: 2, 6: 4}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column, first row, column step, row step."""
_PIECE = 1 << 20


class Chunk(NamedTuple):
    """A chunk; body and checksum are short if the file ends within it. A tuple, because a hostile file has
    many.
    """

    kind: bytes
    body: bytes
    checksum: bytes

    @property
    def cut(self) -> bool:
        return len(self.checksum) < 4

    @property
    def whole(self) -> bool:
        return self.checksum == struct.pack(">I", zlib.crc32(self.body, zlib.crc32(self.kind)))


@dataclass(frozen=True)
class Header:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @classmethod
    def of(cls, chunk: Chunk | None) -> Header:
        if chunk is None or chunk.kind != b"IHDR" or not chunk.whole or len(chunk.body) != 13:
            raise ImageCorrupt("PNG")
        width, height, depth, colour, compression, filtering, interlace = struct.unpack(
            ">IIBBBBB", chunk.body
        )
        known = depth in _DEPTHS.get(colour, ()) and compression == filtering == 0 and interlace <= 1
        if not known or not width or not height:
            raise ImageCorrupt("PNG")
        return cls(width, height, depth, colour, bool(interlace))

    @property
    def byte_count(self) -> int:
        """The inflated size of all rows, each with its filter byte."""
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        bits = self.depth * _CHANNELS[self.colour]
        total = 0
        for left, top, across, down in passes:
            columns, rows = -(-(self.width - left) // across), -(-(self.height - top) // down)
            total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
        return total


@dataclass(frozen=True)
class Png(Still):
    """A PNG reduced to what determines its pixels. `sound` means that no checksum of `data` is wrong."""

    format = "PNG"
    header: Header
    palette: bytes
    transparency: bytes
    data: Sequence[bytes]
    sound: bool

    def check_complete(self) -> None:
        """Count the inflated bytes: Pillow mistakes the end of the compressed stream for the end of the
        image.

        If a chunk checksum is wrong, the stream's own checksum must hold; either of them proves the pixels.
        """
        missing = self.header.byte_count
        inflate = zlib.decompressobj()
        try:
            for part in self.data:
                while part and (missing > 0 or not self.sound):
                    missing -= len(inflate.decompress(part, _PIECE))
                    part = inflate.unconsumed_tail
        except zlib.error as error:
            raise ImageCorrupt("PNG") from error
        if missing > 0 or not (self.sound or inflate.eof):
            raise ImageCorrupt("PNG")

    def draw(self) -> Drawn:
        image = loaded(self.file, "PNG")
        key = self._transparent_colour()
        if key is None:
            return flat(image)
        if self.header.colour == _RGB:
            return whitened(image, self._equal(image, key))
        if self.header.depth == 16:
            values = np.asarray(image)
            return whitened(eight_bits(values), values == key[0])
        grey = image.convert("L")
        top = (1 << self.header.depth) - 1
        return whitened(grey, np.asarray(grey) == key[0] * 255 // top)

    @property
    def file(self) -> bytes:
        """The chunks that determine pixels.

        Pillow gets the alpha values of a palette, but no transparent colour.
        """
        h = self.header
        ihdr = struct.pack(">IIBBBBB", h.width, h.height, h.depth, h.colour, 0, 0, int(h.interlaced))
        palette = h.colour == _PALETTE
        parts = [SIGNATURE, *_written(b"IHDR", ihdr)]
        if palette:
            parts += _written(b"PLTE", self.palette)
        if palette and self.transparency:
            parts += _written(b"tRNS", self.transparency)
        return b"".join([*parts, *_written(b"IDAT", b"".join(self.data)), *_written(b"IEND", b"")])

    def _transparent_colour(self) -> tuple[int, ...] | None:
        """The samples of the transparent colour. Only the low bits count, by the PNG specification."""
        count = {_GREY: 1, _RGB: 3}.get(self.header.colour)
        if count is None or len(self.transparency) != 2 * count:
            return None
        mask = (1 << self.header.depth) - 1
        return tuple(value & mask for value in struct.unpack(f">{count}H", self.transparency))

    def _equal(self, image: Image.Image, key: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """A mask of the pixels of an RGB image that equal `key`."""
        if self.header.depth == 8:
            return _all_equal(image, key)
        high = _all_equal(image, tuple(value >> 8 for value in key))
        return high & _all_equal(self._low_bytes(), tuple(value & 255 for value in key))

    def _low_bytes(self) -> Image.Image:
        """The low bytes of 16-bit RGB.

        Pillow keeps the high bytes, unless it reads the byte order reversed.
        """
        with guarded("PNG"), Image.open(io.BytesIO(self.file), formats=("PNG",)) as image:
            image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
            image.load()
            return image


def read(data: bytes) -> Png:
    """Raises ImageCorrupt if a chunk that determines pixels is unusable."""
    chunks = list(_chunks(data))
    header = Header.of(chunks[0] if chunks else None)
    first = next((at for at, chunk in enumerate(chunks) if chunk.kind == b"IDAT"), len(chunks))
    pixels = [chunk for chunk in chunks[first:] if chunk.kind == b"IDAT"]
    orientation = metadata.orientation_of_png(
        (chunk.kind, chunk.body) for chunk in chunks if chunk.kind != b"IDAT" and chunk.whole
    )
    return Png(
        header.width,
        header.height,
        orientation,
        header,
        *_colours(header, chunks[1:first]),
        data=[chunk.body for chunk in pixels],
        sound=all(chunk.whole or chunk.cut for chunk in pixels),
    )


def _colours(header: Header, chunks: Sequence[Chunk]) -> tuple[bytes, bytes]:
    """The palette, padded with black to all possible indices, and the tRNS chunk; b"" if absent."""
    if header.colour != _PALETTE:
        return b"", _transparency(chunks)
    at = next((at for at, chunk in enumerate(chunks) if chunk.kind == b"PLTE"), None)
    if at is None or not chunks[at].whole or not chunks[at].body or len(chunks[at].body) % 3:
        raise ImageCorrupt("PNG")
    length = 3 << header.depth
    palette = chunks[at].body[:length]
    alpha = _transparency(chunks[at:])
    return palette.ljust(length, b"\0"), alpha if len(alpha) <= len(palette) // 3 else b""


def _transparency(chunks: Sequence[Chunk]) -> bytes:
    return next((chunk.body for chunk in chunks if chunk.kind == b"tRNS" and chunk.whole), b"")


def _chunks(data: bytes) -> Iterator[Chunk]:
    """All chunks before IEND, as far as they can be parsed."""
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND" or not kind.isalpha():
            return
        end = at + 8 + length
        yield Chunk(kind, data[at + 8 : end], data[end : end + 4])
        at = end + 4
    raise ImageCorrupt("PNG")


def _written(kind: bytes, body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _all_equal(image: Image.Image, colour: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    equal: npt.NDArray[np.bool_] = (np.asarray(image) == np.array(colour, np.uint8)).all(axis=2)
    return equal
