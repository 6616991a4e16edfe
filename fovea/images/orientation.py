"""The EXIF orientation of an image: where files store it, and how to undo it.

The value is that of the EXIF tag, 1 to 8. Damaged metadata counts as 1, as viewers then show the image
unrotated.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from PIL import Image

UPRIGHT = 1
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that swap width and height."""

_TAG = 0x0112
_TYPES = {1: "B", 3: "H", 4: "I"}
"""The TIFF types BYTE, SHORT and LONG; writers use all three."""
_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9])\b")
_HEX = re.compile(rb"[0-9a-fA-F]+")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image as a viewer rotates or mirrors it."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def first(values: Iterable[int]) -> int:
    """The first value that is set. Out of range means upright."""
    value = next((value for value in values if value), UPRIGHT)
    return value if value in _TURNS else UPRIGHT


def of_exif(block: bytes) -> int:
    """The tag in the first directory of a TIFF block, with or without an `Exif` prefix; 0 if absent."""
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 0
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    if not 8 <= at <= len(tiff) - 2:
        return 0
    (count,) = struct.unpack_from(order + "H", tiff, at)
    return next(filter(None, (_value(tiff, at + 2 + 12 * entry, order) for entry in range(count))), 0)


def _value(tiff: bytes, at: int, order: str) -> int:
    """The value of the directory entry at `at` if it is the orientation, otherwise 0."""
    if at + 12 > len(tiff):
        return 0
    tag, type, count = struct.unpack_from(order + "HHI", tiff, at)
    if tag != _TAG or type not in _TYPES or count < 1:
        return 0
    value: int = struct.unpack_from(order + _TYPES[type], tiff, at + 8)[0]
    return value


def of_xmp(packet: bytes) -> int:
    match = _XMP.search(packet)
    return int(match[1]) if match else 0


def unwrapped(profile: bytes) -> bytes:
    """Decode ImageMagick's raw profile: a line with a name, a line with a length, then hex digits."""
    lines = profile.split(b"\n", 3)
    digits = b"".join(_HEX.findall(lines[3])) if len(lines) == 4 else b""
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
