"""Files that cost a careless reader seconds or gigabytes. Made when asked for; some have 32 MiB."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

from PIL import Image

from tests.contract.bad_images import BAD, CORRUPT, FORMAT, SCANS, _chunk, _png
from tests.e2e.pictures import picture, pixels

LARGE = 31 << 20
GIB = 1 << 30


@cache
def _zeros(count: int) -> bytes:
    """A zlib stream that inflates to zeros."""
    deflate = zlib.compressobj(9)
    piece = bytes(1 << 20)
    return b"".join(deflate.compress(piece) for _ in range(count >> 20)) + deflate.flush()


def _png_of(width: int, height: int, stream: bytes, before: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")


def _png_with(before: bytes) -> bytes:
    data = picture(64, 64, seed=1)
    return data[:33] + before + data[33:]


def _jpeg(width: int, height: int, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 40)).save(out, "JPEG", **options)
    return out.getvalue()


def _jpeg_with(segments: bytes) -> bytes:
    data = picture(64, 64, seed=1, format="JPEG")
    return data[:2] + segments + data[2:]


def _scans(count: int) -> bytes:
    """A progressive JPEG of 25 megapixels that repeats its last scan."""
    data = _jpeg(5000, 5000, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (count - data.count(b"\xff\xda")) + data[-2:]


def _frames(count: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(64, 64)).quantize(16).save(out, "GIF")
    data = out.getvalue()
    return data[:-1] + data[data.index(b"\x2c") : -1] * count + b";"


def _webp_with(chunks: bytes) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(out, "WEBP")
    body = out.getvalue()[8:] + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _exif_loop() -> bytes:
    """A directory that names itself as its sub-directory and as its successor."""
    entries = struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    return b"II*\0" + struct.pack("<I", 8) + entries


def _app(number: int, body: bytes) -> bytes:
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(body) + 2) + body


def _avif() -> bytes:
    return struct.pack(">I", 24) + b"ftypavif" + bytes(4) + b"mif1avif" + bytes(1000)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    **BAD,
    "avif": (_avif, FORMAT),
    "png of 64x64 that inflates to 1 GiB": (lambda: _png_of(64, 64, _zeros(GIB)), ""),
    "png of 25 megapixels in 75 KB": (lambda: _png_of(5000, 4900, _zeros(80 << 20)), ""),
    "png with a text of 1 GiB": (
        lambda: _png_with(_chunk(b"zTXt", b"Raw profile type exif\0\0" + _zeros(GIB))), "",
    ),
    "png with a profile of 1 GiB": (lambda: _png_with(_chunk(b"iCCP", b"icc\0\0" + _zeros(GIB))), ""),
    "png of 31 MiB of empty chunks": (
        lambda: _png_with(_chunk(b"teXt", b"") * (LARGE // 12)), CORRUPT,
    ),
    "png with a text of 31 MiB": (lambda: _png_with(_chunk(b"tEXt", b"key\0" + bytes(LARGE))), ""),
    "jpeg of 31 MiB of empty segments": (lambda: _jpeg_with(b"\xff\xfe\x00\x02" * (LARGE // 4)), CORRUPT),
    "jpeg of 31 MiB of padding": (lambda: _jpeg_with(b"\xff" * LARGE), ""),
    "jpeg of 25 megapixels and 100 scans": (lambda: _scans(100), SCANS),
    "jpeg of 25 megapixels and 16 scans": (lambda: _scans(16), ""),
    "jpeg with a loop in its EXIF": (lambda: _jpeg_with(_app(1, b"Exif\0\0" + _exif_loop())), ""),
    "jpeg with parts of a profile out of order": (
        lambda: _jpeg_with(_app(2, b"ICC_PROFILE\0\xff\x01" + bytes(60_000)) * 300), "",
    ),
    "gif of 5,000 frames": (lambda: _frames(5_000), ""),
    "webp of 31 MiB of empty chunks": (lambda: _webp_with(b"junk\0\0\0\0" * (LARGE // 8)), CORRUPT),
    "png of no data": (lambda: _png(64, 64), CORRUPT),
}  # fmt: skip
"""The name, how it is made, and the reason with which it is refused; empty if it is decoded."""


def _object(number: int, text: bytes) -> bytes:
    return b"%d 0 obj\n%b\nendobj\n" % (number, text)


def _pdf(*objects: bytes) -> bytes:
    """Without a table of references: readers rebuild it."""
    body = b"".join(_object(number, text) for number, text in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer\n<< /Root 1 0 R >>\n%%EOF\n"


_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
_PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %b >>"


def _flate(stream: bytes, entries: bytes = b"") -> bytes:
    head = b"<< /Length %d /Filter /FlateDecode %b >>\nstream\n" % (len(stream), entries)
    return head + stream + b"\nendstream"


def _shading() -> bytes:
    """A picture of 100,000 x 100,000 pixels in a megabyte."""
    entries = b"/Type /XObject /Subtype /Image /Width 100000 /Height 100000 /ColorSpace /DeviceRGB /BitsPerComponent 8"
    page = _PAGE % b"/Resources << /XObject << /I 5 0 R >> >>"
    return _pdf(
        _CATALOG,
        _PAGES,
        page,
        _flate(zlib.compress(b"595 0 0 842 0 0 cm /I Do")),
        _flate(_zeros(GIB), entries),
    )


PDF_BOMBS: dict[str, Callable[[], bytes]] = {
    "a content stream of 1 GiB": lambda: _pdf(_CATALOG, _PAGES, _PAGE % b"", _flate(_zeros(GIB))),
    "a page tree that contains itself": lambda: _pdf(_CATALOG, b"<< /Type /Pages /Kids [2 0 R] /Count 9 >>"),
    "an image of 10 gigapixels": _shading,
    "a page of 10^9 points": lambda: _pdf(
        _CATALOG,
        _PAGES,
        (_PAGE % b"").replace(b"595 842", b"1000000000 1000000000"),
        _flate(zlib.compress(b"")),
    ),
    "a million paths": lambda: _pdf(
        _CATALOG, _PAGES, _PAGE % b"", _flate(zlib.compress(b"0 0 500 800 re 9 9 400 700 re f* " * 1_000_000))
    ),
}
"""Each ends as drawn pages or as one typed error of the client."""
