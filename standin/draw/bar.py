"""Bar charts.

Two to five upright bars, each with its colour, its label below and its value printed on top.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from standin.canvas import Canvas
from standin.draw.picture import Picture, Series
from standin.draw.style import distinct_values, fitting_words, jitter, paper_and_ink, pick_title
from standin.lexicon import COLOUR_NAMES, COLOURS


@dataclass(frozen=True)
class BarFacts:
    """The title and the bars from left to right; the tallest and the shortest stand out by at least 8."""

    title: str
    bars: Series


def draw_bar(rng: random.Random, width: int, height: int) -> Picture:
    """A bar chart of width x height pixels (at least 150 x 150)."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, paper)
    title = pick_title(canvas, rng, ink)
    count, margin, size = rng.randint(2, 5), rng.randint(3, 8), rng.randint(12, 14)
    pitch = (width - 2 * margin) / count
    bars = Series(
        fitting_words(rng, count, pitch - 3, size),
        tuple(rng.sample(COLOUR_NAMES, count)),
        distinct_values(rng, count),
    )
    floor, top = height - size - 8, 44
    canvas.line([(margin, floor), (width - margin, floor)], ink)
    half = pitch * rng.uniform(0.28, 0.42)
    for place, (label, name, value) in enumerate(zip(bars.labels, bars.colours, bars.values, strict=True)):
        middle = margin + pitch * (place + 0.5)
        head = floor - (floor - top) * value / 100
        canvas.rectangle((middle - half, head, middle + half, floor - 1), jitter(rng, COLOURS[name]), name)
        canvas.centred(middle, head - 9, str(value), rng.randint(12, 15), ink)
        canvas.bind(middle, head - 9, label, label)
        canvas.centred(middle, floor + 4 + size / 2, label, size, ink)
    return Picture(canvas, "bar chart", BarFacts(title, bars))
