"""Small tables: a head of words, two to four rows of a word and one to three numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from standin.canvas import Canvas
from standin.draw.picture import Picture
from standin.draw.style import fitting_words, jitter, paper_and_ink
from standin.lexicon import COLOUR_NAMES, COLOURS


@dataclass(frozen=True)
class TableFacts:
    """Names of columns and rows, and cells[row][column]."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]


def draw_table(rng: random.Random, width: int, height: int) -> Picture:
    """A table that fills width x height pixels (at least 150 x 150)."""
    paper, ink = paper_and_ink(rng)
    canvas = Canvas(width, height, paper)
    size, row_count = rng.randint(12, 15), rng.randint(2, 4)
    column_count = rng.randint(1, max(1, min(3, width // 56 - 1)))
    wide = width / (column_count + 1)
    high = min((height - 4) / (row_count + 1), rng.randint(28, 40))
    names = fitting_words(rng, column_count + row_count, wide - 6, size)
    facts = TableFacts(
        names[:column_count],
        names[column_count:],
        tuple(tuple(rng.randint(10, 99) for _ in range(column_count)) for _ in range(row_count)),
    )
    tint = COLOURS[rng.choice(COLOUR_NAMES)]
    pale = jitter(rng, tuple(200 + value // 5 for value in tint), 4)  # type: ignore[arg-type]
    top = rng.uniform(0, max(1.0, height - 4 - high * (row_count + 1)))
    canvas.rectangle((0, top, width, top + high), pale)
    for place in range(row_count + 2):
        canvas.line([(0, top + place * high), (width, top + place * high)], (170, 170, 170))
    for column, name in enumerate(facts.columns):
        canvas.centred(wide * (column + 1.5), top + high / 2, name, size, ink)
    for row, name in enumerate(facts.rows):
        middle = top + high * (row + 1.5)
        canvas.centred(wide / 2, middle, name, size, ink)
        for column, cell in enumerate(facts.cells[row]):
            canvas.centred(wide * (column + 1.5), middle, str(cell), size, ink)
            canvas.bind(wide * (column + 1.5), middle, name, facts.columns[column])
    return Picture(canvas, "table", facts)
