"""Image files that no server may fail on: damaged, truncated, misleading, or not images at all."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.e2e.pictures import picture, pixels


def _cut(format: str) -> bytes:
    data = picture(120, 120, seed=1, format=format)
    return data[: len(data) // 2]


def _scratched_png() -> bytes:
    data = bytearray(picture(120, 120, seed=2))
    for at in range(len(data) // 3, len(data) // 3 + 40):
        data[at] ^= 0xFF
    return bytes(data)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, body: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(body)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _webp_of_34_bytes() -> bytes:
    """A lossless WebP whose header claims 16384x16384: unchecked decoding would take gigabytes."""
    size = (16383) | (16383 << 14)
    body = b"\x2f" + struct.pack("<I", size) + bytes(9)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated: each scan passes over the whole image."""
    out = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 500 + data[-2:]


def _saved(format: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(out, format)
    return out.getvalue()


def _flat(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def _vast_gif() -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\x00\x00\x00"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x02\x4c\x01\x00"
    return screen + frame + b"\x3b"


def _some_rows(rows: int) -> bytes:
    """Some of 192 rows, in a valid stream."""
    picture = pixels(256, 192)
    return _png(256, 192, b"".join(b"\0" + row.tobytes() for row in picture[:rows]))


def _closed(format: str, end: bytes, **options: bool) -> bytes:
    """Half of the data, followed by the format's end marker."""
    out = io.BytesIO()
    Image.fromarray(pixels(120, 120, seed=1)).save(out, format, **options)
    return out.getvalue()[: out.tell() // 2] + end


def _scans(count: int) -> bytes:
    """The first scans of a progressive JPEG."""
    out = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(out, "JPEG", progressive=True)
    return b"\xff\xda".join(out.getvalue().split(b"\xff\xda")[: 1 + count]) + b"\xff\xd9"


def _heic() -> bytes:
    return struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(500)


CORRUPT, FORMAT = "IMAGE_CORRUPT", "IMAGE_FORMAT_NOT_SUPPORTED"
PIXELS, SIDE = "IMAGE_TOO_MANY_PIXELS", "IMAGE_SIDE_TOO_LONG"
ASPECT, SCANS = "IMAGE_ASPECT_TOO_EXTREME", "IMAGE_TOO_MANY_SCANS"

# What it is called, how it is made, and the reason with which it must be refused.
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "IMAGE_EMPTY"),
    "one byte": (lambda: b"\xff", FORMAT),
    "text": (lambda: b"What is the total?", FORMAT),
    "random bytes": (lambda: random.Random(5).randbytes(5000), FORMAT),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(500), FORMAT),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", FORMAT),
    "bmp": (lambda: _saved("BMP"), FORMAT),
    "tiff": (lambda: _saved("TIFF"), FORMAT),
    "png cut off": (lambda: _cut("PNG"), CORRUPT),
    "jpeg cut off": (lambda: _cut("JPEG"), CORRUPT),
    "webp cut off": (lambda: _cut("WEBP"), CORRUPT),
    "gif cut off": (lambda: _cut("GIF"), CORRUPT),
    "png scratched": (_scratched_png, CORRUPT),
    "png signature alone": (lambda: b"\x89PNG\r\n\x1a\n", CORRUPT),
    "jpeg signature alone": (lambda: b"\xff\xd8\xff\xe0", CORRUPT),
    "webp signature alone": (lambda: b"RIFF\x04\x00\x00\x00WEBP", CORRUPT),
    "gif without a picture": (lambda: b"GIF89a\x01\x00\x01\x00\x00\x00\x00\x3b", CORRUPT),
    "png of too little data": (lambda: _png(64, 64, b"\x00" * 10), CORRUPT),
    "png without half of its rows": (lambda: _some_rows(96), CORRUPT),
    "png without its last row": (lambda: _some_rows(191), CORRUPT),
    "png of 5000x5000 and one row": (lambda: _png(5000, 5000, bytes(15_001)), CORRUPT),
    "jpeg cut off and closed": (lambda: _closed("JPEG", b"\xff\xd9"), CORRUPT),
    "progressive jpeg cut off and closed": (lambda: _closed("JPEG", b"\xff\xd9", progressive=True), CORRUPT),
    "progressive jpeg without its last scan": (lambda: _scans(9), CORRUPT),
    "gif cut off and closed": (lambda: _closed("GIF", b"\0;"), CORRUPT),
    "heic": (_heic, FORMAT),
    "data url": (lambda: b"data:image/png;base64,iVBORw0KGgo=", FORMAT),
    "png of no width": (lambda: _png(0, 64), CORRUPT),
    "png that says 60000x60000": (lambda: _png(60_000, 60_000), PIXELS),
    "png that says 2^31 x 2^31": (lambda: _png(2**31 - 1, 2**31 - 1), PIXELS),
    "png of 5001x5000": (lambda: _flat(5001, 5000), PIXELS),
    "webp of 34 bytes": (_webp_of_34_bytes, PIXELS),
    "gif that says 60000x60000": (_vast_gif, PIXELS),
    "png with a side of 17000": (lambda: _flat(17_000, 100), SIDE),
    "png of 201:1": (lambda: _flat(402, 2), ASPECT),
    "jpeg of 500 scans": (_many_scans, SCANS),
}
