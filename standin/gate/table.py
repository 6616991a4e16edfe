"""Pictures of tables: text in rows and columns, with rules, stripes, both or neither."""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from standin.draw.table import draw_table as draw_standin_table
from standin.gate.sheet import Colour, Means, Sheet, any_size, vivid, word, words


@dataclass(frozen=True)
class Layout:
    """Where the cells are, in pixels, and how they are set off."""

    left: float
    top: float
    widths: tuple[float, ...]
    row: float
    rows: int
    size: int

    @property
    def edges(self) -> list[float]:
        edges = [self.left]
        for width in self.widths:
            edges.append(edges[-1] + width)
        return edges

    @property
    def bottom(self) -> float:
        return self.top + self.row * self.rows


def draw_table(rng: random.Random, means: Means) -> Image.Image:
    if rng.random() < 0.15:
        picture = draw_standin_table(rng, *any_size(rng, 240, 420, 1.5)).canvas.image
        scale = rng.choice((1, 1, 2))
        return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
    sheet = Sheet(rng, means, any_size(rng, 280, 1200, 1.8), 0.15)
    layout = _layout(sheet)
    _surroundings(sheet, layout)
    _fills(sheet, layout)
    _cells(sheet, layout)
    _rules(sheet, layout)
    return sheet.image


def _layout(sheet: Sheet) -> Layout:
    rng = sheet.rng
    size = max(8, round(min(sheet.width, sheet.height) * rng.uniform(0.018, 0.06)))
    columns = rng.randint(2, max(2, min(12, int(sheet.width / size / 4))))
    left = sheet.width * rng.choice((0.0, 0.01, rng.uniform(0, 0.12)))
    room = sheet.width - 2 * left
    shares = [rng.uniform(0.6, 1.6) if rng.random() < 0.5 else 1.0 for _ in range(columns)]
    widths = tuple(share / sum(shares) * room for share in shares)
    row = size * rng.uniform(1.25, 2.6)
    top = rng.choice((0.0, size * 0.5, size * rng.uniform(2, 6)))
    most = max(2, int((sheet.height - top) / row))
    rows = most if rng.random() < 0.6 else rng.randint(max(2, most // 2), most)
    return Layout(left, top, widths, row, rows, size)


def _surroundings(sheet: Sheet, layout: Layout) -> None:
    """A caption above, and lines of text below."""
    rng, size = sheet.rng, layout.size
    if layout.top >= 2 * size:
        sheet.text(layout.left, layout.top - 1.7 * size, sheet.line_of(sheet.width * 0.7, size), size)
    y = layout.bottom + size
    while y < sheet.height - size and rng.random() < 0.8:
        sheet.text(layout.left, y, sheet.line_of(sheet.width - 2 * layout.left, size), size)
        y += size * 1.5


def _fills(sheet: Sheet, layout: Layout) -> None:
    """A header, a first column and stripes, each in some tables."""
    rng, right = sheet.rng, layout.edges[-1]
    stripe = sheet.tint(rng.uniform(0.04, 0.15)) if rng.random() < 0.4 else None
    if stripe:
        for row in range(1, layout.rows, 2):
            y = layout.top + row * layout.row
            sheet.pen.rectangle((layout.left, y, right, y + layout.row), fill=stripe)
    if rng.random() < 0.55:
        header = _pale(sheet) if rng.random() < 0.6 else sheet.tint(rng.uniform(0.08, 0.3))
        sheet.pen.rectangle((layout.left, layout.top, right, layout.top + layout.row), fill=header)
    if rng.random() < 0.2:
        box = (layout.left, layout.top, layout.edges[1], layout.bottom)
        sheet.pen.rectangle(box, fill=sheet.tint(rng.uniform(0.05, 0.15)))


def _pale(sheet: Sheet) -> Colour:
    red, green, blue = ((3 * p + v) // 4 for p, v in zip(sheet.paper, vivid(sheet.rng), strict=True))
    return red, green, blue


def _cells(sheet: Sheet, layout: Layout) -> None:
    rng, edges = sheet.rng, layout.edges
    numbers = [rng.random() < 0.6 and column > 0 for column in range(len(layout.widths))]
    aligned = [rng.choice((1.0, 0.5) if number else (0.0, 0.0, 0.5)) for number in numbers]
    filled = rng.choice((1.0, 1.0, 0.95, 0.7))
    for row in range(layout.rows):
        y = layout.top + layout.row * row + (layout.row - layout.size * 1.2) / 2
        for column, width in enumerate(layout.widths):
            if rng.random() > filled:
                continue
            text = word(rng).title() if row == 0 else _cell(rng, numbers[column])
            room = width - layout.size * 0.8
            while text and sheet.length(text, layout.size) > room:
                text = text[:-2]
            slack = room - sheet.length(text, layout.size)
            sheet.text(edges[column] + layout.size * 0.4 + slack * aligned[column], y, text, layout.size)


def _cell(rng: random.Random, number: bool) -> str:
    if not number:
        return words(rng, rng.choice((1, 1, 1, 2, 3)))
    value = rng.uniform(0, 10 ** rng.randint(1, 5))
    return rng.choice((f"{value:.0f}", f"{value:,.2f}", f"{value:.1f}%", f"{value / 100:.3f}"))


def _rules(sheet: Sheet, layout: Layout) -> None:
    """All lines, horizontal lines alone, those of a printed table, or none."""
    rng, edges = sheet.rng, layout.edges
    colour, width = sheet.tint(rng.uniform(0.15, 1)), rng.choice((1, 1, 1, 2))
    style = rng.choices(("grid", "rows", "printed", "none"), (5, 3, 2, 2))[0]
    lines = [layout.top + layout.row * row for row in range(layout.rows + 1)]
    if style == "printed":
        lines = [lines[0], lines[1], lines[-1]]
    for y in lines if style != "none" else []:
        sheet.pen.line((edges[0], y, edges[-1], y), colour, width)
    for x in edges if style == "grid" else []:
        sheet.pen.line((x, layout.top, x, layout.bottom), colour, width)
