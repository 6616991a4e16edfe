"""Pages of text: two to five lines of words of the lexicon."""

from __future__ import annotations

import random
from dataclasses import dataclass

from standin.canvas import Canvas, text_size
from standin.draw.picture import Picture
from standin.draw.style import paper_and_ink
from standin.lexicon import WORDS


@dataclass(frozen=True)
class PageFacts:
    """The words of each line, top to bottom, left to right."""

    lines: tuple[tuple[str, ...], ...]


def draw_page(rng: random.Random, width: int, height: int) -> Picture:
    """A page of width x height pixels (at least 150 x 150)."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, paper)
    count, size = rng.randint(2, 5), rng.randint(12, 16)
    pitch = min((height - 12) / count, rng.randint(24, 36))
    left, top = rng.randint(4, 14), rng.uniform(4, max(5.0, height - 6 - pitch * count))
    lines = tuple(_line(canvas, rng, left, top + pitch * (place + 0.5), size, ink) for place in range(count))
    return Picture(canvas, "page", PageFacts(lines))


def _line(
    canvas: Canvas, rng: random.Random, x: float, middle: float, size: int, ink: tuple[int, int, int]
) -> tuple[str, ...]:
    """Set words from x until the line is full or long enough; always at least two."""
    words: list[str] = []
    wanted = rng.randint(2, 5)
    while len(words) < wanted:
        word = rng.choice(WORDS)
        wide, _ = text_size(word, size)
        if x + wide > canvas.size[0] - 4:
            if len(words) >= 2:
                break
            continue
        if len(words) == 0 and x + wide > canvas.size[0] - 56:
            continue
        canvas.centred(x + wide / 2, middle, word, size, ink)
        words.append(word)
        x += wide + size * 0.6
    return tuple(words)
