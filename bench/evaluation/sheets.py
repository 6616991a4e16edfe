"""The held-out questions, gathered by picture, and the three views of a picture that they are asked about.

The stand-in draws a picture for every question; kinds of one sort of chart share their pictures, place by
place, so the n-th questions of all kinds are gathered into sheets of one picture each. Knows no model and
no service.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from PIL import Image

from fovea.contract.errors import FoveaError
from standin.dataset import KINDS, HeldOut, heldout
from standin.frozen import DIGEST, SEED, heldout_digest

VIEWS = ("native", "half", "blank")
WHITE = (255, 255, 255)


class HeldOutChanged(FoveaError):
    """The frozen questions are drawn differently here, so no score would compare with a published one."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "HELD_OUT_CHANGED"

    def __init__(self, found: str) -> None:
        super().__init__(f"the held-out set has the digest {found}; frozen is {DIGEST}", actual=found)


@dataclass(frozen=True)
class Place:
    """Where an outcome belongs: the kind by its place in KINDS, and which question of that kind."""

    kind: int
    row: int


@dataclass(frozen=True)
class Sheet:
    """One picture and all that is asked about it."""

    image: Image.Image
    questions: tuple[tuple[Place, HeldOut], ...]


def sheets(per_kind: int, seed: int) -> Iterator[Sheet]:
    """`per_kind` questions of every kind; a picture is drawn when it is its turn, and not kept."""
    streams = [heldout(kind, per_kind, seed) for kind in KINDS]
    for row, asked in enumerate(zip(*streams, strict=True)):
        pictures: dict[tuple[tuple[int, int], bytes], list[tuple[Place, HeldOut]]] = {}
        for kind, one in enumerate(asked):
            same = pictures.setdefault((one.image.size, one.image.tobytes()), [])
            same.append((Place(kind, row), one))
        for questions in pictures.values():
            yield Sheet(questions[0][1].image, tuple(questions))


def file_of(image: Image.Image, view: str) -> bytes:
    """The PNG that a client sends for a view: as drawn, at half the width and height, or white instead."""
    width, height = image.size
    if view == "half":
        image = image.resize((width // 2, height // 2))
    elif view == "blank":
        image = Image.new("RGB", image.size, WHITE)
    elif view != "native":
        raise ValueError(f"no such view: {view}")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def digest(seed: int) -> str:
    """The digest of the set of a seed. Raises HeldOutChanged where the frozen seed draws something else."""
    found = heldout_digest(seed)
    if seed == SEED and found != DIGEST:
        raise HeldOutChanged(found)
    return found
