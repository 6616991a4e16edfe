"""Key-figure cards: a label, one figure of three digits, a band of colour, a footer word."""

from __future__ import annotations

import random
from dataclasses import dataclass

from standin.canvas import Canvas
from standin.draw.picture import Picture
from standin.draw.style import jitter, paper_and_ink
from standin.lexicon import COLOUR_NAMES, COLOURS, WORDS


@dataclass(frozen=True)
class CardFacts:
    """The word above the figure, the figure, the word below, and the colour of the band."""

    label: str
    figure: int
    footer: str
    colour: str


def draw_card(rng: random.Random, width: int, height: int) -> Picture:
    """A card on a sheet of width x height pixels (at least 128 x 96)."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, jitter(rng, (214, 218, 224), 16))
    label, footer = rng.sample(WORDS, 2)
    facts = CardFacts(label, rng.randint(100, 999), footer, rng.choice(COLOUR_NAMES))
    left, right = rng.randint(4, width // 6), width - rng.randint(4, width // 6)
    top, bottom = rng.randint(4, height // 6), height - rng.randint(4, height // 6)
    canvas.rectangle((left, top, right, bottom), paper)
    fill = jitter(rng, COLOURS[facts.colour])
    if rng.random() < 0.5:
        canvas.rectangle((left, top, left + rng.randint(10, 18), bottom), fill, facts.colour)
        left += 18
    else:
        canvas.rectangle((left, bottom - rng.randint(10, 18), right, bottom), fill, facts.colour)
        bottom -= 18
    middle, room = (left + right) / 2 + rng.randint(-8, 8), bottom - top
    canvas.centred(middle, top + room * 0.2, facts.label, rng.randint(13, 16), ink)
    canvas.centred(middle, top + room * 0.5, str(facts.figure), rng.randint(14, 17), ink)
    canvas.centred(middle, top + room * 0.8, facts.footer, rng.randint(12, 13), ink)
    return Picture(canvas, "card", facts)
