"""Pictures of text: pages, code, terminals, chats, slides, signs. With real fonts, and no rows and columns."""

from __future__ import annotations

import random

from PIL import Image

from standin.gate.sheet import MONO, Means, Sheet, any_size, vivid, word, words


def draw_text(rng: random.Random, means: Means) -> Image.Image:
    draw = rng.choices((_page, _code, _chat, _slide, _sign, _letters), (5, 2, 1, 1, 1, 1))[0]
    return draw(rng, means)


def _page(rng: random.Random, means: Means) -> Image.Image:
    """Paragraphs in one to three columns, with headings."""
    sheet = Sheet(rng, means, any_size(rng, 260, 1200, 1.7), 0.15)
    size = max(8, round(min(sheet.width, sheet.height) * rng.uniform(0.012, 0.05)))
    columns = rng.choices((1, 2, 3), (6, 3, 1))[0] if sheet.width > 40 * size else 1
    margin, gap = sheet.width * rng.uniform(0.01, 0.12), size * 2
    room = (sheet.width - 2 * margin - gap * (columns - 1)) / columns
    for column in range(columns):
        _column(sheet, margin + column * (room + gap), sheet.height * rng.uniform(0.01, 0.1), room, size)
    return sheet.image


def _column(sheet: Sheet, x: float, y: float, room: float, size: int) -> None:
    rng, pitch = sheet.rng, size * sheet.rng.uniform(1.15, 1.8)
    bottom = sheet.height * rng.choice((1.0, 0.97, 0.9, rng.uniform(0.4, 1)))
    left = rng.randint(2, 9)
    while y < bottom - pitch:
        if left == 0:
            left = rng.randint(2, 9)
            y += pitch * rng.choice((0, 0.5, 1))
            if rng.random() < 0.3:
                heading = round(size * rng.uniform(1, 1.9))
                sheet.text(x, y, sheet.line_of(room * rng.uniform(0.3, 0.9), heading), heading)
                y += heading * 1.6
            continue
        left -= 1
        sheet.text(x, y, sheet.line_of(room * (rng.uniform(0.2, 0.9) if left == 0 else 1), size), size)
        y += pitch


def _code(rng: random.Random, means: Means) -> Image.Image:
    """Indented lines of several colours, as editors and terminals show them."""
    sheet = Sheet(rng, means, any_size(rng, 260, 1200, 1.8), 0.6)
    sheet.font = rng.choice([name for name in means.fonts if name in MONO])
    size = rng.randint(9, 20)
    colours = [sheet.ink, sheet.ink, *(vivid(rng) for _ in range(rng.randint(0, 4)))]
    indent, numbered, y = 0, rng.random() < 0.4, size * 0.7
    if rng.random() < 0.3:
        sheet.pen.rectangle((0, 0, sheet.width, size * 2), fill=sheet.tint(0.15))
        y += size * 2
    line = rng.randint(1, 400)
    while y < sheet.height - size:
        x = size * 0.6
        if numbered:
            sheet.text(x, y, str(line), size, sheet.tint(0.4))
            x += size * 3
        indent = max(0, indent + rng.choice((-1, -1, 0, 0, 0, 1, 1)))
        x += indent * size * 1.2
        for _ in range(rng.choice((0, 1, 2, 3, 4, 5, 6, 8))):
            part = word(rng) + rng.choice(("", "()", "(", ")", " =", "{", "->"))
            sheet.text(x, y, part, size, rng.choice(colours))
            x += sheet.length(part + " ", size)
        line, y = line + 1, y + size * 1.35
    return sheet.image


def _chat(rng: random.Random, means: Means) -> Image.Image:
    """Bubbles of text, and a bar above."""
    sheet = Sheet(rng, means, any_size(rng, 260, 1000, 2.0))
    size = rng.randint(10, 22)
    mine, theirs = sheet.tint(0.08), vivid(rng)
    sheet.pen.rectangle((0, 0, sheet.width, size * 2.4), fill=sheet.tint(rng.uniform(0.05, 0.8)))
    sheet.text(size, size * 0.6, words(rng, 2), size, sheet.paper if rng.random() < 0.5 else sheet.ink)
    y = size * 3.2
    while y < sheet.height - 2 * size:
        lines = [sheet.line_of(sheet.width * rng.uniform(0.3, 0.7), size) for _ in range(rng.randint(1, 5))]
        wide = max(sheet.length(line, size) for line in lines) + size
        x = size * 0.7 if rng.random() < 0.5 else sheet.width - wide - size
        box = (x, y, x + wide, y + len(lines) * size * 1.3 + size * 0.6)
        sheet.pen.rounded_rectangle(box, size * 0.6, fill=rng.choice((mine, mine, theirs)))
        for place, line in enumerate(lines):
            sheet.text(x + size * 0.5, y + size * (0.3 + 1.3 * place), line, size)
        y = box[3] + size * rng.uniform(0.4, 1.2)
    return sheet.image


def _slide(rng: random.Random, means: Means) -> Image.Image:
    """A title and a few points in large letters."""
    sheet = Sheet(rng, means, any_size(rng, 300, 1200, 1.8), 0.35)
    size = round(sheet.height * rng.uniform(0.05, 0.1))
    x, y = sheet.width * rng.uniform(0.03, 0.12), sheet.height * rng.uniform(0.04, 0.2)
    sheet.text(x, y, sheet.line_of(sheet.width - 2 * x, round(size * 1.4)), round(size * 1.4))
    y += size * 2.4
    for _ in range(rng.randint(2, 8)):
        if y > sheet.height - size:
            break
        dot = rng.choice(("", "- ", "* ", "1. "))
        sheet.text(x, y, dot + sheet.line_of((sheet.width - 2 * x) * rng.uniform(0.4, 0.95), size), size)
        y += size * rng.uniform(1.3, 2)
    return sheet.image


def _sign(rng: random.Random, means: Means) -> Image.Image:
    """A few large words that fill the picture."""
    sheet = Sheet(rng, means, any_size(rng, 220, 900, 3.0), 0.4)
    lines = rng.randint(1, 5)
    size = max(9, round(sheet.height / lines * rng.uniform(0.45, 0.8)))
    for place in range(lines):
        text = words(rng, rng.randint(1, 4))
        fitted = min(size, max(9, int(size * sheet.width * 0.92 / max(1.0, sheet.length(text, size)))))
        x = (sheet.width - sheet.length(text, fitted)) * rng.choice((0.1, 0.5, 0.5))
        sheet.text(x, sheet.height * (place + 0.15) / lines, text, fitted)
    return sheet.image


def _letters(rng: random.Random, means: Means) -> Image.Image:
    """Lines that lean and vary in size, as a hand writes or a camera sees them."""
    sheet = Sheet(rng, means, any_size(rng, 240, 900, 2.5), 0.1)
    size, y = rng.randint(12, 40), 6.0
    while y < sheet.height - size:
        x = rng.uniform(0, size * 2)
        while x < sheet.width - size:
            part = word(rng)
            sheet.text(
                x, y + rng.uniform(-0.15, 0.15) * size, part, max(9, round(size * rng.uniform(0.85, 1.15)))
            )
            x += sheet.length(part, size) + size * rng.uniform(0.3, 0.8)
        y += size * rng.uniform(1.2, 1.7)
    slant = rng.uniform(-0.25, 0.25)
    return sheet.image.transform(
        sheet.image.size,
        Image.Transform.AFFINE,
        (1, slant, -slant * sheet.height / 2, rng.uniform(-0.05, 0.05), 1, 0),
        Image.Resampling.BILINEAR,
        fillcolor=sheet.paper,
    )
