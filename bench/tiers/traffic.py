"""Traffic of drawn pictures and questions with right answers, in a mix of coarse, repeated and seen ones.

The same for the same mix, count and seed. Independent of services.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.evaluation.sheets import png
from standin.dataset import draw_picture
from standin.questions import Asked, questions_about

SPLIT = "tiers"
SPACE = 1_000_000
"""Pictures of a seed; seeds share none."""


@dataclass(frozen=True)
class Mix:
    """Shares of all requests. A request that repeats another exactly is about a picture that was seen."""

    coarse: float
    repeated: float = 0.0
    seen: float = 0.0


MIXED = Mix(coarse=0.6, repeated=0.2, seen=0.5)
CASCADE = Mix(coarse=0.8)


@dataclass(frozen=True)
class Request:
    """A question about a PNG file; `picture` numbers the pictures of the traffic."""

    picture: int
    file: bytes = field(repr=False)
    asked: Asked

    @property
    def coarse(self) -> bool:
        return self.asked.tier == "coarse"

    def right(self, text: str) -> bool:
        return text.strip() == self.asked.answer


def traffic(mix: Mix, count: int, seed: int) -> list[Request]:
    """`count` requests in order. Repeats have the tier of what they repeat. A picture is new where no seen
    picture has a question of the tier left.
    """
    dice = random.Random(f"{SPLIT}/{seed}")
    sources = _shuffled(dice, count, {"repeat": mix.repeated, "seen": mix.seen - mix.repeated}, "new")
    tiers = iter(_shuffled(dice, count, {"coarse": mix.coarse}, "fine"))
    pictures = _pictures(seed)
    drawn: list[_Picture] = []
    made: list[Request] = []
    for source in sources:
        if source == "repeat" and made:
            made.append(dice.choice(made))
            continue
        tier = next(tiers)
        fitting = [picture for picture in drawn if picture.left[tier]] if source == "seen" else []
        picture = dice.choice(fitting) if fitting else _next_with(tier, pictures, drawn)
        made.append(Request(picture.number, picture.file, picture.left[tier].pop()))
    return made


def digest(requests: Sequence[Request]) -> str:
    """SHA-256 over all files, questions and answers."""
    hasher = hashlib.sha256()
    for request in requests:
        for part in (request.file, request.asked.question.encode(), request.asked.answer.encode()):
            hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest()


def shares(requests: Sequence[Request]) -> dict[str, float]:
    """What the traffic is made of, as it was drawn."""
    pictures: set[bytes] = set()
    asked: set[tuple[bytes, str]] = set()
    seen = repeated = 0
    for request in requests:
        key = request.file, request.asked.question
        seen, repeated = seen + (request.file in pictures), repeated + (key in asked)
        pictures.add(request.file)
        asked.add(key)
    coarse = sum(request.coarse for request in requests)
    counts = {"coarse": coarse, "repeated": repeated, "seen": seen}
    return {name: round(count / len(requests), 3) for name, count in counts.items()}


@dataclass(frozen=True)
class _Picture:
    """A picture, and its questions that were not asked yet, by tier."""

    number: int
    file: bytes
    left: dict[str, list[Asked]]


def _pictures(seed: int) -> Iterator[_Picture]:
    for number in range(SPACE):
        drawn = draw_picture(SPLIT, seed * SPACE + number)
        dice = random.Random(f"{SPLIT}-question/{seed}/{number}")
        distinct = {asked.question: asked for asked in questions_about(drawn, dice)}
        left: dict[str, list[Asked]] = {"coarse": [], "fine": []}
        for asked in distinct.values():
            left[asked.tier].append(asked)
        for group in left.values():
            dice.shuffle(group)
        yield _Picture(number, png(drawn.canvas.image), left)


def _next_with(tier: str, pictures: Iterator[_Picture], drawn: list[_Picture]) -> _Picture:
    for picture in pictures:
        drawn.append(picture)
        if picture.left[tier]:
            return picture
    raise ValueError(f"no picture with a {tier} question is left")


def _shuffled(dice: random.Random, count: int, wanted: dict[str, float], rest: str) -> list[str]:
    """`count` names in random order, each with its share, and the rest."""
    names = [name for name, share in wanted.items() for _ in range(round(share * count))]
    names += [rest] * (count - len(names))
    dice.shuffle(names)
    return names
