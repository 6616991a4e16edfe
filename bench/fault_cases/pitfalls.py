"""Pairs of image files that Pillow makes look equal or different, with what the encoder must say of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

from encoder_svc.images.decode import decode
from encoder_svc.images.limits import ImageLimits
from fovea.contract.errors import ImageInvalid

Outcome = Literal["same", "different", "refused"]
LIMITS = ImageLimits()
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Pair:
    """Two files, and whether their pixels have the same digest; `refused` is about the second."""

    name: str
    first: Callable[[], bytes]
    second: Callable[[], bytes]
    expected: Outcome


def outcome(pair: Pair) -> Outcome:
    digest = decode(pair.first(), LIMITS).facts.pixel_digest
    try:
        other = decode(pair.second(), LIMITS).facts.pixel_digest
    except ImageInvalid:
        return "refused"
    return "same" if other == digest else "different"


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def ramp(width: int = 48, height: int = 32) -> Image.Image:
    """A picture whose rotations and channels all differ."""
    down, right = np.mgrid[0:height, 0:width]
    red, green = 255 * right // (width - 1), 255 * down // (height - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 40)], -1).astype(np.uint8))


def _zeros(width: int, height: int, mode: str = "RGB") -> bytes:
    return saved(Image.new(mode, (width, height)))


def _palette(*colours: int, **options: Any) -> bytes:
    """Equal indices under the given palette."""
    image = Image.new("P", (8, 4), 1)
    image.paste(0, (0, 0, 4, 4))
    image.putpalette(colours)
    return saved(image, **options)


def _with_alpha(value: int) -> bytes:
    image = ramp().convert("RGBA")
    image.putalpha(value)
    return saved(image)


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(ramp(), exif=exif.tobytes())


def _grey(values: int, depth: type) -> bytes:
    return saved(Image.fromarray(np.full((4, 4), values, depth)))


def _deep(value: int) -> bytes:
    return _grey(value, np.uint16)


def _with_chunk(kind: bytes, body: bytes) -> bytes:
    """The picture with a chunk in front of its data."""
    data = saved(ramp())
    at = data.index(b"IDAT") - 4
    check = zlib.crc32(kind + body)
    return data[:at] + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check) + data[at:]


def _gif(*colours: str) -> bytes:
    first, *rest = (Image.new("RGB", (20, 10), colour) for colour in colours)
    return saved(first, "GIF", save_all=True, append_images=rest)


def _cmyk(*ink: int) -> bytes:
    return saved(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def plain() -> bytes:
    return saved(ramp())


PAIRS = (
    Pair("equal bytes of 150x30 and 30x150", lambda: _zeros(150, 30), lambda: _zeros(30, 150), "different"),
    Pair("two palettes", lambda: _palette(9, 9, 9, 1, 2, 3), lambda: _palette(9, 9, 9, 3, 2, 1), "different"),
    Pair(
        "a palette with and without transparency",
        lambda: _palette(9, 9, 9, 1, 2, 3),
        lambda: _palette(9, 9, 9, 1, 2, 3, transparency=0),
        "different",
    ),
    Pair(
        "a palette with a transparent entry and white",
        lambda: _palette(9, 9, 9, 1, 2, 3, transparency=0),
        lambda: _palette(255, 255, 255, 1, 2, 3),
        "same",
    ),
    Pair("opaque alpha", plain, lambda: _with_alpha(255), "same"),
    Pair("half alpha", plain, lambda: _with_alpha(128), "different"),
    Pair("RGBA and CMYK of equal bytes", lambda: _zeros(16, 16, "RGBA"), lambda: _cmyk(0, 0, 0, 0), "same"),
    Pair("two inks", lambda: _cmyk(255, 0, 0, 0), lambda: _cmyk(0, 255, 0, 0), "different"),
    Pair("an orientation", plain, lambda: _turned(6), "different"),
    Pair("an orientation of 1", plain, lambda: _turned(1), "same"),
    Pair(
        "an orientation and turned pixels",
        lambda: _turned(6),
        lambda: saved(ramp().transpose(Image.Transpose.ROTATE_270)),
        "same",
    ),
    Pair("16 bits and 8 bits", lambda: _grey(23_130, np.uint16), lambda: _grey(90, np.uint8), "same"),
    Pair("two greys of 16 bits", lambda: _deep(300), lambda: _deep(40_000), "different"),
    Pair("a gamma", plain, lambda: _with_chunk(b"gAMA", struct.pack(">I", 100_000)), "same"),
    Pair("a text", plain, lambda: _with_chunk(b"tEXt", b"Comment\0hello"), "same"),
    Pair("a colour profile", plain, lambda: saved(ramp(), icc_profile=_profile()), "same"),
    Pair("another compression", plain, lambda: saved(ramp(), compress_level=0), "same"),
    Pair("another format", plain, lambda: saved(ramp(), "WEBP", lossless=True), "same"),
    Pair("a lossy format", plain, lambda: saved(ramp(), "JPEG", quality=50), "different"),
    Pair("junk behind the end", plain, lambda: plain() + b"junk", "same"),
    Pair("two first frames", lambda: _gif("red", "blue"), lambda: _gif("blue", "red"), "different"),
    Pair("two later frames", lambda: _gif("red", "blue"), lambda: _gif("red", "lime"), "same"),
    Pair("a pixel", plain, lambda: saved(_with_a_pixel(ramp())), "different"),
    Pair("a truncated file", plain, lambda: plain()[: len(plain()) // 2], "refused"),
    Pair("a file without checksum and end, with all pixels", plain, lambda: plain()[:-20], "same"),
)  # fmt: skip


def _with_a_pixel(image: Image.Image) -> Image.Image:
    red, green, blue = image.getpixel((3, 3))  # type: ignore[misc]
    image.putpixel((3, 3), (red, green, blue ^ 1))
    return image
