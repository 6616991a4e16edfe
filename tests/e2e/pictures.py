"""Image files for tests: noise over a gradient, so that every cell of every picture differs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZES = ((64, 64), (96, 160), (200, 70), (33, 130), (128, 96))
FORMATS = ("PNG", "JPEG", "WEBP", "PNG", "GIF")


def pixels(width: int, height: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng([seed, width, height])
    ramp = np.linspace(0, 200, width)[None, :, None] * np.array([1.0, 0.5, 0.2])
    return (ramp + draw.integers(0, 56, (height, width, 3))).astype(np.uint8)


def picture(width: int = 96, height: int = 64, seed: int = 0, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(width, height, seed)).save(out, format)
    return out.getvalue()


def some(count: int, seed: int = 0) -> list[bytes]:
    """`count` pictures of different sizes and formats."""
    return [
        picture(*SIZES[(seed + i) % len(SIZES)], seed * 31 + i, FORMATS[(seed + i) % len(FORMATS)])
        for i in range(count)
    ]
