"""Input for the real services: large images, and calls that must be refused with a given reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from fovea.client import Message, Sampling, errors
from fovea.contract.errors import FoveaError
from tests.e2e.pictures import picture, pixels

MIB = 1024 * 1024


def noise_of_20_mib(seed: int) -> bytes:
    """An image of slightly more than 20 MiB: uncompressed noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (2660, 2660, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    return out.getvalue()


def jpeg(width: int, height: int, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels(width, height)).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


LARGE_PICTURES = {
    "a page": picture(1240, 1754),
    "a photo, upright": jpeg(2016, 1512, 1),
    "a photo on its side": jpeg(2016, 1512, 6),
    "a strip": picture(3000, 60),
    "a small one": picture(200, 130),
}


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


UNKNOWN = "sha256:" + "0" * 64
REFUSED: dict[str, tuple[type[FoveaError], Callable[[Any], Any]]] = {
    "an unknown id": (errors.ImageNotStored, lambda c: c.ask("?", [UNKNOWN])),
    "an unknown id, described": (errors.ImageNotStored, lambda c: c.describe(UNKNOWN)),
    "an unknown id, counted": (errors.ImageNotStored, lambda c: c.count("?", [UNKNOWN])),
    "no bytes": (errors.ImageEmpty, lambda c: c.put(b"")),
    "a text": (errors.ImageFormatNotSupported, lambda c: c.put(b"not a picture")),
    "half a picture": (errors.ImageCorrupt, lambda c: c.put(picture(300, 300)[:100_000])),
    "33 MiB": (errors.ImageTooLarge, lambda c: c.put(bytes(33 * MIB))),
    "26 megapixels": (errors.ImageTooManyPixels, lambda c: c.put(png(5200, 5000))),
    "a side of 16,385 pixels": (errors.ImageSideTooLong, lambda c: c.put(png(16_385, 100))),
    "201 to 1": (errors.AspectTooExtreme, lambda c: c.put(png(4020, 20))),
    "33 images": (errors.TooManyImages, lambda c: c.ask("?", [UNKNOWN] * 33)),
    "one pixel": (errors.InvalidArgument, lambda c: c.ask("?", [UNKNOWN], max_pixels=1)),
    "a cold temperature": (errors.InvalidArgument, lambda c: c.ask("?", sampling=Sampling(temperature=-1.0))),
    "a long answer": (
        errors.MaxNewTokensTooLarge,
        lambda c: c.ask("?", sampling=Sampling(max_new_tokens=9999)),
    ),
    "a long question": (errors.ContextTooLong, lambda c: c.ask("timber " * 9000)),
    "no question": (errors.MessagesInvalid, lambda c: c.ask([Message("assistant", ["Yes."])])),
    "33 MiB of text": (errors.MessageTooLarge, lambda c: c.ask("x" * (33 * MIB))),
}
