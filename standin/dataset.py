"""Seeded pictures and questions, for training and held out.

An endless training stream of packed batches, and a held-out stream that shares no seed with it.

Every picture comes from a seed string that begins with the name of its split, so no number can make the
two meet.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from standin.canvas import Canvas
from standin.draw import DRAWERS, Picture
from standin.labels import dense_labels
from standin.questions import CHANCE, FINE, Asked, questions_about
from standin.tokenizer import load_tokenizer

SIZES: tuple[tuple[int, int], ...] = (
    (160, 160), (192, 160), (224, 160), (160, 192), (192, 192), (256, 160), (160, 224), (224, 192),
    (192, 224), (256, 192), (192, 256), (320, 160), (224, 224), (288, 192), (256, 224), (224, 256),
    (320, 192), (256, 256), (320, 224),
)  # fmt: skip
ZOOM = (0.85, 1.45)
IGNORED = -100
QUOTED = re.compile('"([^"]+)"')
# How often training draws each kind of picture (bar, line, pie, table, card, scene, page): what is learnt
# last, looking a number up by name and counting, gets the most.
DRAWER_WEIGHTS = (2.0, 1.2, 0.8, 2.0, 0.5, 2.0, 0.9)


@dataclass(frozen=True)
class HeldOut:
    """One held-out question with its picture. `chance` is what the best constant answer gets."""

    image: Image.Image
    question: str
    answer: str
    kind: str
    tier: str
    chance: float


def draw_picture(
    split: str, seed: int, size: tuple[int, int] | None = None, drawer: int | None = None
) -> Picture:
    """The picture of a seed; without a size or a drawer the seed chooses them."""
    rng = random.Random(f"{split}/{seed}")
    width, height = size or _any_size(rng)
    return (DRAWERS[drawer] if drawer is not None else rng.choice(DRAWERS))(rng, width, height)


def _any_size(rng: random.Random) -> tuple[int, int]:
    """Two of three sizes are multiples of 32, the others up to 15 pixels off."""
    width, height = rng.choice(SIZES)
    if rng.random() < 0.33:
        return width + rng.randint(-15, 15), height + rng.randint(-9, 15)
    return width, height


def heldout(kind: str, count: int, seed: int = 0) -> Iterator[HeldOut]:
    """`count` held-out questions of one kind, each about a picture of its own."""
    place = 0
    while count > 0:
        picture = draw_picture("heldout", seed * 10_000_000 + place, drawer=_drawer_of(kind, place))
        asked = questions_about(picture, random.Random(f"heldout-question/{seed}/{place}"))
        place += 1
        for one in asked:
            if one.kind == kind:
                yield HeldOut(picture.canvas.image, one.question, one.answer, kind, one.tier, one.chance)
                count -= 1
                break


def _drawer_of(kind: str, place: int) -> int:
    """Which drawer's pictures can answer this kind of question, by the first word of its name."""
    first = kind.split("_")[0]
    by_name = {"bar": 0, "line": 1, "pie": 2, "table": 3, "card": 4, "scene": 5, "page": 6}
    if kind == "picture":
        raise ValueError("no such kind of question")
    if first == "picture":
        return place % len(DRAWERS)
    return place % 3 if first == "title" else by_name[first]


KINDS: tuple[str, ...] = tuple(CHANCE)
COARSE: tuple[str, ...] = tuple(kind for kind in KINDS if kind not in FINE)


@dataclass(frozen=True)
class Batch:
    """Pictures of one size with packed questions, as numpy arrays.

    pictures (B, H, W, 3) uint8, labels (B, patches, 8) int16 (None at reduced size), tokens and targets
    (B, questions, length)
    int64 where a target is IGNORED unless its token is an answer's, kinds (B, questions) int64 places in
    KINDS, looks (B, questions, 3) int64 where a question quotes names: the
    visual token that they lead to and the places of the first and the last of them, else IGNORED.
    """

    pictures: np.ndarray
    labels: np.ndarray | None
    tokens: np.ndarray
    targets: np.ndarray
    kinds: np.ndarray
    looks: np.ndarray


@lru_cache(maxsize=50_000)
def encode(text: str) -> tuple[int, ...]:
    return tuple(load_tokenizer().encode(text).ids)


def question_tokens(question: str, answer: str) -> tuple[list[int], int]:
    """Tokens of a whole turn after the picture, and how many of the last are the answer's with its end."""
    asked = encode(question) + encode("<|im_end|>\n<|im_start|>assistant\n")
    answered = encode(answer) + encode("<|im_end|>")
    return [*asked, *answered], len(answered)


def looked_up(question: str, canvas: Canvas, width: int, height: int) -> int:
    """The visual token of a canvas at width x height that the quoted words of a question name, or IGNORED."""
    quoted = set(QUOTED.findall(question))
    for bond in canvas.bonds:
        if quoted == {bond.first, bond.second}:
            row, col = int(bond.y * height / canvas.size[1]) // 32, int(bond.x * width / canvas.size[0]) // 32
            return row * (width // 32) + col
    return IGNORED


def pack(
    pictures: list[np.ndarray],
    labels: list[np.ndarray] | None,
    asked: list[list[Asked]],
    looked: list[list[int]] | None = None,
) -> Batch:
    """Pad the questions of all pictures to one number and one length."""
    turns = [[question_tokens(one.question, one.answer) for one in group] for group in asked]
    many, length = max(map(len, turns)), max(len(turn[0]) for group in turns for turn in group)
    tokens = np.zeros((len(turns), many, length), np.int64)
    targets = np.full((len(turns), many, length), IGNORED, np.int64)
    kinds = np.full((len(turns), many), -1, np.int64)
    looks = np.full((len(turns), many, 3), IGNORED, np.int64)
    for row, group in enumerate(turns):
        for column, (ids, answered) in enumerate(group):
            tokens[row, column, : len(ids)] = ids
            # The token before predicts it, so targets stand one place earlier.
            targets[row, column, len(ids) - answered - 1 : len(ids) - 1] = ids[-answered:]
            kinds[row, column] = KINDS.index(asked[row][column].kind)
            if looked and looked[row][column] != IGNORED:
                names = [ids.index(encode(name)[0]) for name in QUOTED.findall(asked[row][column].question)]
                looks[row, column] = looked[row][column], names[0], names[-1]
    return Batch(np.stack(pictures), np.stack(labels) if labels else None, tokens, targets, kinds, looks)


@dataclass(frozen=True)
class Recipe:
    """What a training stream is made of."""

    sizes: tuple[tuple[int, int], ...] = SIZES
    questions: int = 8
    coarse_share: float = 0.35
    half_share: float = 0.0
    zoom_share: float = 0.0
    zoom: tuple[float, float] = ZOOM
    drawer_weights: tuple[float, ...] = DRAWER_WEIGHTS
    odd_share: float = 0.15
    pixels: int = 1_180_000


def training_batches(seed: int, recipe: Recipe) -> Iterator[Batch]:
    """Endless batches; each holds pictures of one size, about `recipe.pixels` in all."""
    rng = random.Random(f"train-batches/{seed}")
    serial = 0
    while True:
        width, height = rng.choice(recipe.sizes)
        half, zoomed = rng.random() < recipe.half_share, rng.random() < recipe.zoom_share
        target = (_halved(width, rng), _halved(height, rng)) if half else (width, height)
        if zoomed and not half:
            target = _zoomed(width, height, rng.uniform(*recipe.zoom))
        count = max(2, recipe.pixels // max(width * height, target[0] * target[1]))
        images, labels, asked, looked = [], [], [], []
        for _ in range(count):
            odd = rng.random() < recipe.odd_share
            size = (width + rng.randint(-15, 15), height + rng.randint(-9, 15)) if odd else (width, height)
            drawer = rng.choices(range(len(DRAWERS)), recipe.drawer_weights)[0]
            picture = draw_picture("train", (seed << 32) + serial, size, drawer)
            serial += 1
            images.append(resized(picture.canvas, *target))
            if not half:
                labels.append(dense_labels(picture.canvas, *target))
            asked.append(choose(questions_about(picture, rng), rng, recipe))
            looked.append([looked_up(one.question, picture.canvas, *target) for one in asked[-1]])
        yield pack(images, labels or None, asked, looked)


def _zoomed(width: int, height: int, factor: float) -> tuple[int, int]:
    """The nearest whole cells: both sides are scaled nearly alike."""
    return round(width * factor / 32) * 32, round(height * factor / 32) * 32


def _halved(side: int, rng: random.Random) -> int:
    return max(64, (side // 2 + rng.choice((0, 31))) // 32 * 32)


def resized(canvas: Canvas, width: int, height: int) -> np.ndarray:
    """The picture at another size, by the filter of the published processor (bicubic)."""
    image = canvas.image
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def choose(asked: list[Asked], rng: random.Random, recipe: Recipe) -> list[Asked]:
    """At most `recipe.questions` of them: the coarse share, then fine ones, then what coarse ones are left."""
    rng.shuffle(asked)
    coarse = [one for one in asked if one.tier == "coarse"]
    fine = [one for one in asked if one.tier == "fine"]
    wanted = round(recipe.questions * recipe.coarse_share)
    return (coarse[:wanted] + fine + coarse[wanted:])[: recipe.questions]
