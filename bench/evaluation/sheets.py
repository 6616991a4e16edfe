"""The held-out questions, grouped by picture.

Kinds about the same sort of chart share their pictures. The n-th questions of all kinds are therefore grouped
into sheets: a picture with all its questions. Independent of models.

A client sends a picture as drawn, at half size, blank, or enlarged like uploaded screenshots. The row of the
question determines the scale, so that every run and every policy sends the same files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np
from PIL import Image

from fovea.contract.errors import FoveaError
from standin.dataset import KINDS, HeldOut, heldout
from standin.frozen import DIGEST, SEED, heldout_digest

VIEWS = ("native", "half", "blank")
"""Those that `bench.eval` compares."""
UPLOADED = "uploaded"
WHITE = (255, 255, 255)
CELL = 32
SCALES = (1.0, 1.5, 2.0, 3.0)


class HeldOutChanged(FoveaError):
    """The frozen questions are drawn differently here, so scores are not comparable with published ones."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "HELD_OUT_CHANGED"

    def __init__(self, actual: str) -> None:
        super().__init__(f"the held-out set has the digest {actual}; frozen is {DIGEST}", actual=actual)


@dataclass(frozen=True)
class Place:
    """Where an outcome belongs: the index of its kind in KINDS, and which question of that kind."""

    kind: int
    row: int


@dataclass(frozen=True)
class Sheet:
    """A picture and all questions about it."""

    image: Image.Image
    questions: tuple[tuple[Place, HeldOut], ...]


def sheets(per_kind: int, seed: int) -> Iterator[Sheet]:
    """`per_kind` questions of every kind; pictures are drawn when they are needed, and not kept."""
    streams = [heldout(kind, per_kind, seed) for kind in KINDS]
    for row, questions in enumerate(zip(*streams, strict=True)):
        pictures: dict[tuple[tuple[int, int], bytes], list[tuple[Place, HeldOut]]] = {}
        for kind, drawn in enumerate(questions):
            same = pictures.setdefault((drawn.image.size, drawn.image.tobytes()), [])
            same.append((Place(kind, row), drawn))
        for questions in pictures.values():
            yield Sheet(questions[0][1].image, tuple(questions))


def digest(seed: int) -> str:
    """The digest of the set of a seed. Raises HeldOutChanged where the frozen seed draws another set."""
    actual = heldout_digest(seed)
    if seed == SEED and actual != DIGEST:
        raise HeldOutChanged(actual)
    return actual


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
    width, height = size = _planned(image.width), _planned(image.height)
    pixels = np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BICUBIC))
    rows, columns = height // CELL, width // CELL
    cells = pixels.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2).reshape(rows * columns, -1, 3)
    return int((cells == cells[:, :1]).all(axis=(1, 2)).sum()), rows * columns


def _planned(side: int) -> int:
    return max(CELL, round(side / CELL) * CELL)


def _enlarged(image: Image.Image, scale: float) -> Image.Image:
    if scale == 1.0:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
