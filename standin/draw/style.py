"""Small choices that all pictures share: paper, ink, colour jitter. Draws nothing itself."""

from __future__ import annotations

import random
from itertools import pairwise

from standin.canvas import Canvas, text_size
from standin.lexicon import WORDS

Colour = tuple[int, int, int]


def jitter(rng: random.Random, colour: Colour, by: int = 12) -> Colour:
    """The colour, each channel moved by at most `by` levels."""
    red, green, blue = (max(0, min(255, value + rng.randint(-by, by))) for value in colour)
    return red, green, blue


def paper_and_ink(rng: random.Random) -> tuple[Colour, Colour]:
    """A light background and a dark text colour that can be read on it and on every fill."""
    base = rng.randint(225, 255)
    paper = (base, base, base) if rng.random() < 0.5 else jitter(rng, (246, 244, 240), 9)
    return paper, jitter(rng, (24, 24, 28), 20)


def pick_title(canvas: Canvas, rng: random.Random, ink: Colour) -> str:
    """Print a word of the lexicon as the title in the top 24 pixels and return it."""
    word, size = rng.choice(WORDS), rng.randint(13, 16)
    wide, _ = text_size(word, size)
    x = rng.choice((6.0, (canvas.size[0] - wide) / 2)) + rng.randint(-3, 3)
    canvas.centred(x + wide / 2, rng.randint(11, 14), word, size, ink)
    return word


def fitting_words(rng: random.Random, count: int, room: float, size: int) -> tuple[str, ...]:
    """`count` different words that are at most `room` pixels wide at a font size."""
    return tuple(rng.sample([word for word in WORDS if text_size(word, size)[0] <= room], count))


def distinct_values(rng: random.Random, count: int) -> tuple[int, ...]:
    """Values of two digits.

    The largest and the smallest stand out by at least 8, all differ by at least 2.
    """
    while True:
        values = [rng.randint(10, 99) for _ in range(count)]
        ranked = sorted(values)
        gaps = [b - a for a, b in pairwise(ranked)]
        if min(gaps) >= 2 and gaps[0] >= 8 and gaps[-1] >= 8:
            return tuple(values)
