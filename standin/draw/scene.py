"""Photo-like scenes.

A graded sky over a ground, coloured shapes that do not touch, a sign with a word, sensor noise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from standin.canvas import Canvas, text_size
from standin.draw.picture import Picture
from standin.draw.style import jitter
from standin.lexicon import COLOUR_NAMES, COLOURS, SHAPES, WORDS

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SceneFacts:
    """Colours and shapes in order of size, the largest first and well ahead; the sign's word.

    Day or night.
    """

    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    sign: str
    time: str


def draw_scene(rng: random.Random, width: int, height: int) -> Picture:
    """A scene of width x height pixels (at least 150 x 150)."""
    time, sign, count = rng.choice(("day", "night")), rng.choice(WORDS), rng.randint(1, 5)
    colours = tuple(rng.sample(COLOUR_NAMES, count))
    shapes = tuple(rng.choice(SHAPES) for _ in range(count))
    while True:
        canvas, taken = Canvas(width, height), []
        _backdrop(canvas, rng, time)
        _sign(canvas, rng, sign, taken)
        boxes = [_place(canvas, rng, side, taken) for side in _sides(rng, count, min(width, height))]
        if None not in boxes:
            break
    for shape, box, name in zip(shapes, boxes, colours, strict=True):
        _shape(canvas, shape, box, jitter(rng, COLOURS[name]), name)
    return Picture(canvas, "scene", SceneFacts(colours, shapes, sign, time))


def _sides(rng: random.Random, count: int, extent: int) -> list[float]:
    largest = extent * rng.uniform(0.26, 0.36)
    return [largest, *(max(18.0, largest * rng.uniform(0.45, 0.7)) for _ in range(count - 1))]


def _place(canvas: Canvas, rng: random.Random, side: float, taken: list[Box]) -> Box | None:
    for _ in range(60):
        x, y = rng.uniform(2, canvas.size[0] - side - 2), rng.uniform(2, canvas.size[1] - side - 2)
        box = (x, y, x + side, y + side)
        if not any(x - 5 < b[2] and b[0] < box[2] + 5 and y - 5 < b[3] and b[1] < box[3] + 5 for b in taken):
            taken.append(box)
            return box
    return None


def _shape(canvas: Canvas, shape: str, box: Box, fill: tuple[int, int, int], name: str) -> None:
    if shape == "circle":
        canvas.ellipse(box, fill, name)
    elif shape == "square":
        canvas.rectangle(box, fill, name)
    else:
        canvas.polygon([(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) / 2, box[1])], fill, name)
    for y in range(int(box[1]) + 6, int(box[3]), 8):
        for x in range(int(box[0]) + 6, int(box[2]), 8):
            if canvas.classes.getpixel((x, y)):
                canvas.bind(x, y, shape, shape)


def _sign(canvas: Canvas, rng: random.Random, word: str, taken: list[Box]) -> None:
    size = rng.randint(13, 16)
    wide, high = text_size(word, size)
    x, y = rng.uniform(4, canvas.size[0] - wide - 18), rng.uniform(4, canvas.size[1] - high - 30)
    board = (x, y, x + wide + 12, y + high + 10)
    post = x + wide / 2 + 6
    canvas.rectangle((post - 2, board[3], post + 2, board[3] + 16), (96, 88, 80))
    canvas.rectangle(board, jitter(rng, (240, 240, 236), 10))
    canvas.centred(post, (board[1] + board[3]) / 2, word, size, jitter(rng, (24, 24, 28), 16))
    taken.append((board[0], board[1], board[2], board[3] + 16))


def _backdrop(canvas: Canvas, rng: random.Random, time: str) -> None:
    width, height = canvas.size
    high, low, near, far = _tints(rng, time)
    horizon = int(height * rng.uniform(0.45, 0.7))
    down = np.linspace(0, 1, height)[:, None, None]
    picture = np.where(
        np.arange(height)[:, None, None] < horizon,
        np.array(high) * (1 - down) + np.array(low) * down,
        np.array(far) * (1 - down) + np.array(near) * down,
    )
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(2, 7), (height, width, 1))
    canvas.image.paste(Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8)))


def _tints(rng: random.Random, time: str) -> list[tuple[int, int, int]]:
    by_day = [(170, 205, 240), (225, 235, 245), (170, 185, 140), (205, 210, 180)]
    by_night = [(18, 22, 44), (60, 62, 90), (40, 46, 42), (58, 62, 60)]
    return [jitter(rng, tint, 14) for tint in (by_day if time == "day" else by_night)]
