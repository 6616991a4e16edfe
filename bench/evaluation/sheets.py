"""The held-out questions, grouped by picture.

The stand-in draws a picture for every question, and kinds that are about the same sort of chart share their
pictures: the n-th questions of all kinds are grouped into sheets, a picture each. Independent of models and
services.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from PIL import Image

from fovea.errors import FoveaError
from standin.dataset import KINDS, HeldOut, heldout
from standin.frozen import DIGEST, SEED, heldout_digest


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
    for row, asked in enumerate(zip(*streams, strict=True)):
        pictures: dict[tuple[tuple[int, int], bytes], list[tuple[Place, HeldOut]]] = {}
        for kind, drawn in enumerate(asked):
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
