"""Line charts: three to six points of one coloured line, each with its value printed above it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from standin.canvas import Canvas
from standin.draw.picture import Picture
from standin.draw.style import distinct_values, jitter, paper_and_ink, pick_title
from standin.lexicon import COLOUR_NAMES, COLOURS


@dataclass(frozen=True)
class LineFacts:
    """The title, the colour of the line, and the values from left to right.

    First and last differ by at least 20.
    """

    title: str
    colour: str
    values: tuple[int, ...]


def draw_line(rng: random.Random, width: int, height: int) -> Picture:
    """A line chart of width x height pixels (at least 150 x 150)."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, paper)
    title = pick_title(canvas, rng, ink)
    name, count = rng.choice(COLOUR_NAMES), rng.randint(3, 6)
    values = _values(rng, count)
    margin, floor, top = rng.randint(3, 10), height - rng.randint(8, 16), 52
    pitch = (width - 2 * margin) / count
    points = [
        (margin + pitch * (place + 0.5), floor - (floor - top) * value / 100)
        for place, value in enumerate(values)
    ]
    grey = (190, 190, 190)
    canvas.line([(margin, floor), (width - margin, floor)], grey)
    colour = jitter(rng, COLOURS[name])
    canvas.line(points, colour, 3)
    for (x, y), value in zip(points, values, strict=True):
        canvas.ellipse((x - 4, y - 4, x + 4, y + 4), colour, name)
        canvas.rectangle((x - 10, y - 20, x + 10, y - 6), paper)
        canvas.centred(x, y - 13, str(value), rng.randint(12, 15), ink)
    return Picture(canvas, "line chart", LineFacts(title, name, values))


def _values(rng: random.Random, count: int) -> tuple[int, ...]:
    while True:
        values = distinct_values(rng, count)
        if abs(values[0] - values[-1]) >= 20:
            return values
