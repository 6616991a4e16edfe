"""Image files for tests: valid files of each format, and malicious ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def picture(width: int = 48, height: int = 32) -> npt.NDArray[np.uint8]:
    """A smooth picture with different corners, so that every rotation differs."""
    down, right = np.mgrid[0:height, 0:width]
    red, green = 255 * right // max(1, width - 1), 255 * down // max(1, height - 1)
    return np.stack([red, green, np.full_like(red, 40)], -1).astype(np.uint8)


def encoded(image: Image.Image | npt.NDArray[Any], format: str = "PNG", **options: Any) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    if format == "GIF" and image.mode == "RGB":
        image = image.quantize(64)
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def with_orientation(orientation: int, format: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    return encoded(picture(), format, exif=exif.tobytes(), **options)


def png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of 70 bytes that claims any size."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of 34 bytes that claims any size up to 16,384 a side."""
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + b"\x88\x88\x08\x00\x00\x00\x00\x00\x00"
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(width: int, height: int) -> bytes:
    """A GIF whose screen and only frame claim any size up to 65,535 a side."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02D\x01\0;"
    return b"GIF89a" + screen + frame


def jpeg(width: int, height: int) -> bytes:
    """A JPEG of 16x16 pixels whose frame header claims any size up to 65,500 a side."""
    data = bytearray(encoded(picture(16, 16), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with_scans(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan until it has `scans` scans."""
    data = encoded(picture(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    end = data.rindex(b"\xff\xd9")
    more = scans - data.count(b"\xff\xda")
    return data[:end] + data[last:end] * more + data[end:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


BOMBS = {
    "webp of 34 bytes": webp(16_383, 10_900),
    "png of 177 megapixels": png(13_300, 13_300, depth=1, colour=0),
    "png of a single column": png(1, 50_000_000),
    "png of 4 gigapixels": png(65_535, 65_535),
    "gif of 4 gigapixels": gif(65_535, 65_535),
    "jpeg of 4 gigapixels": jpeg(65_500, 65_500),
    "jpeg of 4,000 scans": jpeg_with_scans(4_000),
}
