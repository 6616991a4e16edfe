"""The network's input: an image of any size as a square thumbnail. The trainer uses the same function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 128


def thumbnail(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(height, width, 3) to (SIDE, SIDE, 3); the aspect ratio is lost.

    A large image is first averaged over whole boxes of pixels, to no less than twice the final size.
    """
    image = Image.fromarray(rgb)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))
