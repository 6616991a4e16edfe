"""The orientation in each format's metadata. Nothing else is read, and damaged metadata is ignored."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from fovea.images import orientation
from fovea.images.orientation import of_exif, of_xmp, unwrapped

MOST_INFLATED = 8 << 20
"""The limit for inflated text in bytes. An XMP packet with a thumbnail has a few hundred KiB."""

_XMP_KEY = b"XML:com.adobe.xmp"
_RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
_RAW_XMP = b"Raw profile type xmp"


def orientation_of_png(chunks: Iterable[tuple[bytes, bytes]]) -> int:
    """From the eXIf chunk, ImageMagick's raw profiles, or XMP, in this order.

    `chunks` are types and bodies.
    """
    exif: list[int] = []
    texts: dict[bytes, bytes] = {}
    for kind, body in chunks:
        if kind == b"eXIf":
            exif.append(of_exif(body))
        elif kind in _TEXTS:
            key, _, rest = body.partition(b"\0")
            if key in (*_RAW_EXIF, _RAW_XMP, _XMP_KEY) and key not in texts:
                texts[key] = _TEXTS[kind](rest)
    return orientation.first([*exif, *_of_texts(texts)])


def _of_texts(texts: dict[bytes, bytes]) -> Iterator[int]:
    for key in _RAW_EXIF:
        profile = unwrapped(texts.get(key, b""))
        yield of_exif(profile) or of_xmp(profile)
    yield of_xmp(texts.get(_XMP_KEY, b""))
    yield of_xmp(unwrapped(texts.get(_RAW_XMP, b"")))


def orientation_of_jpeg(segments: Iterable[bytes]) -> int:
    """`segments` are the bodies of APP1 segments."""
    bodies = list(segments)
    exif = (of_exif(body) for body in bodies if body.startswith(b"Exif\0"))
    xmp = (of_xmp(body) for body in bodies if body.startswith(b"http://ns.adobe.com/xap/1.0/\0"))
    return orientation.first([*exif, *xmp])


def orientation_of_webp(exif: bytes, xmp: bytes) -> int:
    return orientation.first([of_exif(exif), of_xmp(xmp)])


def _plain(rest: bytes) -> bytes:
    return rest


def _compressed(rest: bytes) -> bytes:
    """zTXt: a method byte, 0, then a zlib stream."""
    return _inflated(rest[1:]) if rest[:1] == b"\0" else b""


def _international(rest: bytes) -> bytes:
    """iTXt: compression flag and method, a language, a translated keyword, then the text."""
    _, _, behind = rest[2:].partition(b"\0")
    _, _, text = behind.partition(b"\0")
    return _inflated(text) if rest[:2] == b"\1\0" else text if rest[:1] == b"\0" else b""


def _inflated(data: bytes) -> bytes:
    """The start of a zlib stream, up to the limit; empty if it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, MOST_INFLATED)
    except zlib.error:
        return b""


_TEXTS = {b"tEXt": _plain, b"zTXt": _compressed, b"iTXt": _international}
