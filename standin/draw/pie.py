"""Pie charts: two to five coloured slices, the share of each printed outside its rim."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from standin.canvas import Canvas
from standin.draw.picture import Picture
from standin.draw.style import jitter, paper_and_ink, pick_title
from standin.lexicon import COLOUR_NAMES, COLOURS

LEAST = 10  # per cent: a thinner slice has no room for its figure


@dataclass(frozen=True)
class PieFacts:
    """The title, colours and shares in per cent, clockwise; the largest leads by at least 6."""

    title: str
    colours: tuple[str, ...]
    shares: tuple[int, ...]


def draw_pie(rng: random.Random, width: int, height: int) -> Picture:
    """A pie chart of width x height pixels (at least 150 x 150)."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, paper)
    title = pick_title(canvas, rng, ink)
    shares = _shares(rng, rng.randint(2, 5))
    colours = tuple(rng.sample(COLOUR_NAMES, len(shares)))
    radius = min(width / 2 - 34, (height - 28) / 2 - 20)
    x, y = width / 2, 26 + (height - 28) / 2
    start = rng.uniform(0, 360)
    for share, name in zip(shares, colours, strict=True):
        end = start + 3.6 * share
        box = (x - radius, y - radius, x + radius, y + radius)
        canvas.pieslice(box, start, end, jitter(rng, COLOURS[name]), name)
        middle = math.radians((start + end) / 2)
        canvas.centred(
            x + (radius + 18) * math.cos(middle),
            y + (radius + 11) * math.sin(middle),
            f"{share}%",
            rng.randint(12, 14),
            ink,
        )
        start = end
    return Picture(canvas, "pie chart", PieFacts(title, colours, shares))


def _shares(rng: random.Random, count: int) -> tuple[int, ...]:
    while True:
        cuts = sorted(rng.sample(range(1, 100), count - 1))
        shares = tuple(b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True))
        ranked = sorted(shares)
        if ranked[0] >= LEAST and ranked[-1] - ranked[-2] >= 6:
            return shares
