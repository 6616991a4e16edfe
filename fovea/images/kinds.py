"""Guesses what unsupported bytes are, and advises the sender.

Only the first bytes are inspected, and none of them are quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

HEAD = 4096

CONVERT = "convert the picture to PNG or JPEG first"
_DRAW = "draw it as a PNG first"
_PAGES = "send its pages as pictures, for example with `fovea ask FILE.pdf`"
_DECODE = "decode it and send the bytes"
_FRAMES = "send single frames as pictures"
_READ = "read it and send the bytes"
_BINARY = "read and send the file in binary mode"
_FETCH = "send the picture itself"
_EXPORT = "export its pages as pictures first"

_BASE64 = re.compile(rb"\s*(?:iVBORw0KGgo|[/_]9j[/_]|R0lGOD|UklGR)[A-Za-z0-9+/=_\-\s]*\Z")
_ADDRESS = re.compile(rb"\s*(?:https?|file|ftp|s3|gs)://", re.IGNORECASE)
_FILE_NAME = re.compile(
    rb"[^\n\0]{1,400}\.(?:png|jpe?g|gif|webp|heic|avif|bmp|tiff?|pdf)\s*\Z", re.IGNORECASE
)
_REPR = re.compile(rb"b['\"]\\x|b['\"](?:GIF8|RIFF)|(?:89504e470d0a1a0a|ffd8ff)[0-9a-f]*\s*\Z", re.IGNORECASE)
_MANGLED = (
    b"\xef\xbf\xbdPNG",
    b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
    b"\xc2\x89PNG",
    b"\xc3\xbf\xc3\x98\xc3\xbf",
)
"""A PNG or JPEG that was decoded as UTF-8 or Latin-1 and encoded as UTF-8."""
_HEIF = {
    b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC",
    b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF",
    b"crx ": "a raw photo",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    name: str
    advice: str
    matches: Callable[[bytes], bool]


def starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def text_starts(*words: bytes) -> Callable[[bytes], bool]:
    """Matches after white space and a byte order mark, case-insensitively."""
    return lambda head: head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(words)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == form


def _svg(head: bytes) -> bool:
    return text_starts(b"<svg", b"<?xml", b"<!doctype svg", b"<!--")(head) and b"<svg" in head.lower()


def _office(head: bytes) -> bool:
    parts = (b"[Content_Types].xml", b"_rels/", b"word/", b"ppt/", b"xl/", b"opendocument")
    return starts(b"PK\x03\x04")(head) and any(part in head for part in parts)


def _text(head: bytes) -> bool:
    """UTF-8 without control characters; a truncated last character is allowed."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return not re.search(r"[\x00-\x08\x0e-\x1f]", text)


KINDS = (
    Kind("TIFF", CONVERT, starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Kind("BMP", CONVERT, starts(b"BM")),
    Kind("JPEG XL", CONVERT, starts(b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    Kind("JPEG 2000", CONVERT, starts(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    Kind("a Photoshop file", CONVERT, starts(b"8BPS")),
    Kind("an icon", CONVERT, starts(b"\0\0\1\0", b"\0\0\2\0")),
    Kind("a portable bitmap (PNM)", CONVERT, lambda head: bool(re.match(rb"P[1-7Ff]\s", head))),
    Kind("a QOI, DDS or OpenEXR picture", CONVERT, starts(b"qoif", b"DDS ", b"\x76\x2f\x31\x01")),
    Kind("a DICOM picture", CONVERT, lambda head: head[128:132] == b"DICM"),
    Kind("a PDF", _PAGES, lambda head: b"%PDF-" in head[:1024]),
    Kind("PostScript", _DRAW, starts(b"%!PS", b"\xc5\xd0\xd3\xc6")),
    Kind("an Office document", _EXPORT, _office),
    Kind("an old Office document", _EXPORT, starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    Kind("a ZIP archive", "unpack it and send the pictures", starts(b"PK\x03\x04", b"PK\x05\x06")),
    Kind(
        "a compressed file or archive",
        "unpack it and send the pictures",
        starts(b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
    ),
    Kind("a video", _FRAMES, _riff(b"AVI ")),
    Kind("a video", _FRAMES, starts(b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"OggS")),
    Kind("a video", _FRAMES, lambda head: head[4:8] in (b"moov", b"mdat", b"wide")),
    Kind("sound", "send pictures", starts(b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3")),
    Kind("sound", "send pictures", _riff(b"WAVE")),
    Kind("a NumPy array", "encode it as a PNG first", starts(b"\x93NUMPY", b"PK\x03\x04")),
    Kind(
        "a PNG whose line ends were changed",
        _BINARY,
        starts(b"\x89PNG\n", b"\x89PNG\r\n\x1a\r", b"\x89PNG\r\r"),
    ),
    Kind("a picture that went through a text encoding", _BINARY, starts(*_MANGLED)),
    Kind("bytes written as text", _DECODE, lambda head: bool(_REPR.match(head))),
    Kind("a data URL", _DECODE, text_starts(b"data:")),
    Kind("a picture in base64", _DECODE, lambda head: bool(_BASE64.match(head))),
    Kind("an address", "the service fetches nothing, so " + _FETCH, lambda head: bool(_ADDRESS.match(head))),
    Kind("a Git LFS pointer", "fetch the file first", starts(b"version https://git-lfs")),
    Kind("SVG", _DRAW, _svg),
    Kind("HTML", _FETCH, text_starts(b"<!doctype html", b"<html", b"<head", b"<body", b"<script")),
    Kind("XML", _FETCH, text_starts(b"<?xml")),
    Kind("JSON", _FETCH, text_starts(b"{", b"[")),
    Kind("an HTTP message", _FETCH + " without its headers", text_starts(b"http/1", b"http/2", b"content-")),
    Kind("the name of a file", _READ, lambda head: _text(head) and bool(_FILE_NAME.match(head))),
    Kind("text", _FETCH, _text),
    Kind("zero bytes alone", _READ + " once the file is written", lambda head: not head.strip(b"\0")),
)
"""Checked in this order."""


def advice_on(data: bytes) -> tuple[str, str]:
    """What the bytes look like and what to do; two empty strings if unknown."""
    head = bytes(data[:HEAD])
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand:
        return (_HEIF[brand], CONVERT) if brand in _HEIF else ("a video", _FRAMES)
    match = next((kind for kind in KINDS if kind.matches(head)), None)
    return (match.name, match.advice) if match else ("", "")
