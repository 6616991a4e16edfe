"""Pictures that nobody has seen before: soft colour noise, as a JPEG like a photo."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

COARSE = 24


def photo(seed: int, side: int) -> bytes:
    """A square JPEG of `side` pixels; another seed gives another picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()
