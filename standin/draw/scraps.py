"""Scraps: small pictures of random words, numbers and shapes, for the first hours of the tower.

No question is asked of them.
"""

from __future__ import annotations

import random

from standin.canvas import Canvas, text_size
from standin.draw.style import jitter, paper_and_ink
from standin.lexicon import COLOUR_NAMES, COLOURS, WORDS


def draw_scraps(rng: random.Random, width: int, height: int) -> Canvas:
    """A picture with as many texts as fit in a few tries, over a few coloured shapes."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, paper)
    for _ in range(rng.choice((0, 0, 1, 2))):
        _shape(canvas, rng)
    if rng.random() < 0.7:
        _lines(canvas, rng, ink)
        return canvas
    taken: list[tuple[float, float, float, float]] = []
    for _ in range(6 + width * height // 600):
        _text(canvas, rng, ink, taken)
    return canvas


def _lines(canvas: Canvas, rng: random.Random, ink: tuple[int, int, int]) -> None:
    """Close lines of texts with gaps: the most glyphs that a picture can hold."""
    y = rng.uniform(7, 14)
    while y < canvas.size[1] - 7:
        x, size = rng.uniform(0, 14), rng.randint(12, 17)
        for _ in range(12):
            text = random_text(rng)
            wide, _ = text_size(text, size)
            if x + wide <= canvas.size[0]:
                canvas.centred(x + wide / 2, y, text, size, ink)
                x += wide + rng.uniform(4, 14)
        y += rng.uniform(16, 24)


def random_text(rng: random.Random) -> str:
    """A word of the lexicon or a number of one to three digits, now and then with a percent sign."""
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    number = str(
        rng.randint(0, 9) if rng.random() < 0.1 else rng.randint(10, 999 if rng.random() < 0.4 else 99)
    )
    return number + "%" * (rng.random() < 0.1)


def _text(
    canvas: Canvas,
    rng: random.Random,
    ink: tuple[int, int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    text, size = random_text(rng), rng.randint(12, 17)
    width, height = text_size(text, size)
    if width >= canvas.size[0]:
        return
    x, y = rng.randint(0, canvas.size[0] - width), rng.randint(0, canvas.size[1] - height)
    box = (x - 3, y - 2, x + width + 3, y + height + 2)
    if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
        return
    taken.append(box)
    canvas.text(x, y, text, size, ink)


def _shape(canvas: Canvas, rng: random.Random) -> None:
    name = rng.choice(COLOUR_NAMES)
    fill = jitter(rng, COLOURS[name])
    x, y = rng.randint(-8, canvas.size[0] - 16), rng.randint(-8, canvas.size[1] - 16)
    wide, high = rng.randint(12, 56), rng.randint(12, 56)
    kind = rng.randrange(3)
    if kind == 0:
        canvas.rectangle((x, y, x + wide, y + high), fill, name)
    elif kind == 1:
        canvas.ellipse((x, y, x + wide, y + wide), fill, name)
    else:
        canvas.polygon([(x, y + high), (x + wide, y + high), (x + wide / 2, y)], fill, name)
