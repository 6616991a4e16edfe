"""What the client sends of a picture: as it was drawn, or enlarged, as people upload screenshots and scans.

How much a picture is enlarged follows from its place in the set, so that every run and every policy meets
the same files. Enlarged pictures show what the drawn ones show; only text and lines are larger. Knows
pictures, not services.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

CELL = 32
SCALES = (1.0, 1.5, 2.0, 3.0)


def scale_of(row: int) -> float:
    """How much the pictures of a row are enlarged: each scale as often as the others."""
    return SCALES[row % len(SCALES)]


def file_of(image: Image.Image, view: str, row: int) -> bytes:
    """The PNG of a view."""
    scale = scale_of(row) if view == "uploaded" else 1.0
    if scale != 1.0:
        size = round(image.width * scale), round(image.height * scale)
        image = image.resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def uniform_cells(image: Image.Image) -> tuple[int, int]:
    """How many squares of 32x32 pixels have one colour, and how many there are, at the planned size.

    Counted here and not by the service that is measured.
    """
    size = tuple(max(CELL, round(side / CELL) * CELL) for side in image.size)
    pixels = np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BICUBIC))
    rows, columns = size[1] // CELL, size[0] // CELL
    cells = pixels.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2).reshape(rows * columns, -1, 3)
    return int((cells == cells[:, :1]).all(axis=(1, 2)).sum()), rows * columns
