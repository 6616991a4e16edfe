"""What the client sends of a picture: as drawn, at half size, blank, or enlarged like uploaded screenshots.

How much a picture is enlarged follows from its row, so that every run and every policy sees the same files.
Enlarged pictures show the same content; only text and lines are larger. Independent of services.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

VIEWS = ("native", "half", "blank")
"""Those that `bench.eval` compares."""
UPLOADED = "uploaded"
WHITE = (255, 255, 255)
CELL = 32
SCALES = (1.0, 1.5, 2.0, 3.0)


def scale_of(row: int) -> float:
    """How much the uploaded pictures of a row are enlarged: each scale equally often."""
    return SCALES[row % len(SCALES)]


def file_of(image: Image.Image, view: str, row: int = 0) -> bytes:
    """The PNG of a view."""
    if view == "half":
        image = image.resize((image.width // 2, image.height // 2))
    elif view == "blank":
        image = Image.new("RGB", image.size, WHITE)
    elif view == UPLOADED:
        image = _enlarged(image, scale_of(row))
    elif view != "native":
        raise ValueError(f"no such view: {view}")
    return png(image)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def uniform_cells(image: Image.Image) -> tuple[int, int]:
    """How many squares of 32x32 pixels are uniform, and how many there are, at the planned size.

    Counted independently of the service that is measured.
    """
    size = tuple(max(CELL, round(side / CELL) * CELL) for side in image.size)
    pixels = np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BICUBIC))
    rows, columns = size[1] // CELL, size[0] // CELL
    cells = pixels.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2).reshape(rows * columns, -1, 3)
    return int((cells == cells[:, :1]).all(axis=(1, 2)).sum()), rows * columns


def _enlarged(image: Image.Image, scale: float) -> Image.Image:
    if scale == 1.0:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
