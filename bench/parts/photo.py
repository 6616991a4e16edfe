"""Photos that no service has seen before: soft colour noise in a JPEG."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from encoder_svc.vision.preprocess import Patches, patches
from fovea.geometry import Geometry

COARSE = 24
"""Pixels a side of the noise, before it is enlarged."""
LENGTH = 1_000_000
"""Photos of a series."""


def photo(seed: int, side: int) -> bytes:
    """A square JPEG of `side` pixels; another seed gives another picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def to_patches(file: bytes, geometry: Geometry) -> Patches:
    """What the encoder makes of a file."""
    return patches(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), geometry)


def photos(seed: int, series: int, side: int) -> Iterator[bytes]:
    """New photos without end. Different seeds and series (0 to 99) share none."""
    first = LENGTH * (100 * seed + series)
    return (photo(first + number, side) for number in itertools.count())
