"""Generators that training never uses: whether the gate has learned kinds, or only how they are drawn."""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from standin.gate.photo import field
from standin.gate.sheet import MONO, Means, Sheet, any_size, vivid, word, words

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def draw_text(rng: random.Random, means: Means) -> Image.Image:
    return rng.choice((_log, _poem))(rng, means)


def _log(rng: random.Random, means: Means) -> Image.Image:
    """Lines of a terminal: a time, a level and a message, often wrapped."""
    sheet = Sheet(rng, means, any_size(rng, 300, 1200, 1.8), 0.7)
    sheet.font = rng.choice([name for name in means.fonts if name in MONO])
    size, level = rng.randint(9, 18), vivid(rng)
    y, at = size * 0.5, rng.randrange(80_000)
    while y < sheet.height - size:
        at += rng.randrange(60)
        stamp = f"{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}"
        sheet.text(size * 0.4, y, stamp, size)
        x = size * 0.4 + sheet.length(stamp + " ", size)
        if rng.random() < 0.7:
            sheet.text(x, y, rng.choice(("INFO", "WARN", "DEBUG")), size, level)
            x += sheet.length("DEBUG ", size)
        sheet.text(x, y, sheet.line_of((sheet.width - x) * rng.uniform(0.3, 1), size), size)
        y += size * 1.3
    return sheet.image


def _poem(rng: random.Random, means: Means) -> Image.Image:
    """Short lines around an axis."""
    sheet = Sheet(rng, means, any_size(rng, 260, 1000, 1.7))
    size = max(9, round(sheet.height * rng.uniform(0.02, 0.05)))
    y = sheet.height * rng.uniform(0.03, 0.12)
    while y < sheet.height - 2 * size:
        line = sheet.line_of(sheet.width * rng.uniform(0.25, 0.6), size)
        if rng.random() < 0.85:
            sheet.text((sheet.width - sheet.length(line, size)) / 2, y, line, size)
        y += size * 1.6
    return sheet.image


def draw_table(rng: random.Random, means: Means) -> Image.Image:
    return rng.choice((_calendar, _spreadsheet))(rng, means)


def _calendar(rng: random.Random, means: Means) -> Image.Image:
    """The days of a month in weeks, some with an entry."""
    sheet = Sheet(rng, means, any_size(rng, 300, 1000, 1.4), 0.1)
    top, wide = sheet.height * 0.16, sheet.width / 7
    high, size = (sheet.height - top) / 6, max(8, round(sheet.height * rng.uniform(0.022, 0.04)))
    sheet.text(sheet.width * 0.04, top * 0.15, words(rng, 1).title() + " 2031", round(size * 1.5))
    for column, day in enumerate(DAYS):
        sheet.text(column * wide + size * 0.4, top - size * 1.5, day, size)
    first, rule = rng.randrange(7), sheet.tint(rng.uniform(0.15, 0.7))
    for place in range(42):
        x, y = place % 7 * wide, top + place // 7 * high
        sheet.pen.rectangle((x, y, x + wide, y + high), None, rule)
        if 1 <= place - first + 1 <= 31:
            sheet.text(x + size * 0.4, y + size * 0.3, str(place - first + 1), size)
            if rng.random() < 0.3:
                sheet.text(x + size * 0.4, y + size * 1.6, sheet.line_of(wide - size, size), size)
    return sheet.image


def _spreadsheet(rng: random.Random, means: Means) -> Image.Image:
    """A grid with letters above and numbers beside it, filled from its corner on."""
    sheet = Sheet(rng, means, any_size(rng, 320, 1200, 1.8), 0.1)
    size = rng.randint(9, 16)
    high, wide, grey = size * 1.6, size * rng.uniform(4.5, 8), sheet.tint(0.12)
    sheet.pen.rectangle((0, 0, sheet.width, high), fill=grey)
    sheet.pen.rectangle((0, 0, size * 3, sheet.height), fill=grey)
    columns, rows = int((sheet.width - size * 3) / wide) + 1, int(sheet.height / high)
    filled_columns, filled_rows = rng.randint(2, max(2, columns)), rng.randint(max(2, rows // 2), rows)
    for row in range(rows):
        y = row * high
        sheet.pen.line((0, y, sheet.width, y), sheet.tint(0.25))
        sheet.text(size * 0.4, y + size * 0.2, str(row) if row else "", size)
        for column in range(columns):
            x = size * 3 + column * wide
            if row == 0:
                sheet.text(x + wide / 2, y + size * 0.2, chr(65 + column % 26), size)
            elif row <= filled_rows and column < filled_columns and rng.random() < 0.92:
                text = word(rng)[:8] if column == 0 or row == 1 else f"{rng.uniform(0, 9999):.2f}"
                sheet.text(x + size * 0.3, y + size * 0.2, text, size)
    for column in range(columns):
        sheet.pen.line(
            (size * 3 + column * wide, 0, size * 3 + column * wide, sheet.height), sheet.tint(0.25)
        )
    return sheet.image


def draw_chart(rng: random.Random, means: Means) -> Image.Image:
    sheet = Sheet(rng, means, any_size(rng, 300, 1000, 1.7))
    rng.choice((_candles, _bullets, _radar))(sheet)
    return sheet.image


def _candles(sheet: Sheet) -> None:
    """Prices of days: a body and a wick each, between axes."""
    rng, pen = sheet.rng, sheet.pen
    size = max(8, round(sheet.height * 0.035))
    left, right, top, bottom = size * 4, sheet.width - size, size * 3, sheet.height - size * 3
    sheet.text(left, size * 0.6, words(rng, 2), size)
    for mark in range(6):
        y = bottom - (bottom - top) * mark / 5
        pen.line((left, y, right, y), sheet.tint(0.15))
        sheet.text(size * 0.4, y - size * 0.6, str(mark * 20), size)
    count, rising, falling = rng.randint(12, 60), vivid(rng), vivid(rng)
    wide, price = (right - left) / count, rng.uniform(0.3, 0.7)
    for place in range(count):
        opened, price = price, min(0.95, max(0.05, price + rng.gauss(0, 0.06)))
        low, high = min(opened, price) - rng.uniform(0, 0.04), max(opened, price) + rng.uniform(0, 0.04)
        colour, x = rising if price > opened else falling, left + wide * (place + 0.5)
        low_y, high_y, a, b = (bottom - (bottom - top) * value for value in (low, high, opened, price))
        pen.line((x, high_y, x, low_y), colour)
        pen.rectangle((x - wide * 0.35, min(a, b), x + wide * 0.35, max(a, b) + 1), fill=colour)
    pen.line((left, top, left, bottom, right, bottom), sheet.ink)


def _bullets(sheet: Sheet) -> None:
    """Rounded bars beside their names, with their values."""
    rng = sheet.rng
    count = rng.randint(3, 10)
    row = sheet.height / (count + 1)
    size, colours = max(8, round(row * 0.35)), [vivid(rng) for _ in range(rng.choice((1, 1, count)))]
    sheet.text(size, row * 0.3, words(rng, 3), size)
    for place in range(count):
        y, share = row * (place + 1), rng.uniform(0.1, 0.9)
        sheet.text(size, y + row * 0.15, words(rng, 1).title(), size)
        x, room = sheet.width * 0.3, sheet.width * 0.55
        ends = (x, y + row * 0.1, x + max(row * 0.7, room * share), y + row * 0.7)
        sheet.pen.rounded_rectangle((x, ends[1], x + room, ends[3]), row * 0.3, sheet.tint(0.08))
        sheet.pen.rounded_rectangle(ends, row * 0.3, colours[place % len(colours)])
        sheet.text(sheet.width * 0.88, y + row * 0.15, f"{share:.0%}", size)


def _radar(sheet: Sheet) -> None:
    """Areas around a centre, over rings and named spokes."""
    rng, pen = sheet.rng, sheet.pen
    x, y, radius = sheet.width / 2, sheet.height / 2, min(sheet.image.size) * 0.36
    spokes, size = rng.randint(4, 9), max(8, round(sheet.height * 0.035))

    def at(spoke: int, far: float) -> tuple[float, float]:
        angle = 2 * math.pi * spoke / spokes
        return x + radius * far * math.sin(angle), y - radius * far * math.cos(angle)

    for ring in range(1, 5):
        pen.polygon([at(spoke, ring / 4) for spoke in range(spokes)], None, sheet.tint(0.3))
    for spoke in range(spokes):
        pen.line((x, y, *at(spoke, 1)), sheet.tint(0.3))
        name, (near_x, near_y) = words(rng, 1), at(spoke, 1.12)
        sheet.text(near_x - sheet.length(name, size) / 2, near_y - size / 2, name, size)
    for _ in range(rng.randint(1, 3)):
        shape = [at(spoke, rng.uniform(0.2, 1)) for spoke in range(spokes)]
        pen.line([*shape, shape[0]], vivid(rng), rng.randint(2, 4))


def draw_drawing(rng: random.Random, means: Means) -> Image.Image:
    sheet = Sheet(rng, means, any_size(rng, 160, 800, 1.6))
    rng.choice((_maze, _flag, _tree, _face))(sheet)
    return sheet.image


def _maze(sheet: Sheet) -> None:
    rng, step = sheet.rng, max(6, round(min(sheet.image.size) / sheet.rng.randint(6, 24)))
    width = rng.choice((1, 2, 3))
    for y in range(0, sheet.height, step):
        for x in range(0, sheet.width, step):
            end = (x + step, y) if rng.random() < 0.5 else (x, y + step)
            sheet.pen.line((x, y, *end), sheet.ink, width)


def _flag(sheet: Sheet) -> None:
    """Stripes, at times a cross, a disc or a triangle over them."""
    rng, pen, (width, height) = sheet.rng, sheet.pen, sheet.image.size
    count, lying = rng.randint(2, 7), rng.random() < 0.6
    colours = [vivid(rng) for _ in range(rng.randint(2, 3))]
    for place in range(count):
        start, end = place / count, (place + 1) / count
        box = (0, start * height, width, end * height) if lying else (start * width, 0, end * width, height)
        pen.rectangle(box, fill=colours[place % len(colours)])
    mark = rng.randrange(4)
    if mark == 0:
        pen.rectangle((width * 0.3, 0, width * 0.42, height), fill=vivid(rng))
        pen.rectangle((0, height * 0.42, width, height * 0.58), fill=vivid(rng))
    elif mark == 1:
        radius = height * rng.uniform(0.15, 0.3)
        pen.ellipse(
            (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius), vivid(rng)
        )
    elif mark == 2:
        pen.polygon([(0, 0), (0, height), (width * 0.4, height / 2)], vivid(rng))


def _tree(sheet: Sheet) -> None:
    """A tree of branches that fork."""
    rng, colour = sheet.rng, sheet.ink if sheet.rng.random() < 0.5 else vivid(sheet.rng)
    branches = [(sheet.width / 2, sheet.height * 0.97, -math.pi / 2, sheet.height * 0.26, rng.randint(5, 12))]
    while branches:
        x, y, angle, long, thick = branches.pop()
        end = x + long * math.cos(angle), y + long * math.sin(angle)
        sheet.pen.line((x, y, *end), colour, max(1, thick))
        if long > sheet.height * 0.03:
            branches += [
                (*end, angle + side * rng.uniform(0.2, 0.7), long * rng.uniform(0.6, 0.8), thick - 2)
                for side in (-1, 1)
            ]


def _face(sheet: Sheet) -> None:
    """A face of circles and arcs."""
    rng, pen = sheet.rng, sheet.pen
    x, y, radius = sheet.width / 2, sheet.height / 2, min(sheet.image.size) * rng.uniform(0.25, 0.45)
    width = max(1, round(radius * 0.04))
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), vivid(rng), sheet.ink, width)
    for side in (-1, 1):
        eye, small = x + side * radius * 0.38, radius * rng.uniform(0.08, 0.18)
        pen.ellipse((eye - small, y - radius * 0.35, eye + small, y - radius * 0.35 + 2 * small), sheet.ink)
    mouth = (x - radius * 0.5, y - radius * 0.2, x + radius * 0.5, y + radius * 0.6)
    pen.arc(mouth, 20, 160, sheet.ink, max(2, width))


def draw_photo(rng: random.Random, means: Means) -> Image.Image:
    """`means` are not used."""
    values, size = np.random.default_rng(rng.getrandbits(32)), any_size(rng, 200, 500, 1.5)
    picture = rng.choice((_water, _hair, _marble))(rng, values, size)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.choice((0, 0.6, 1.2))))
    noise = values.normal(0, rng.uniform(1, 8), (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _between(rng: random.Random, mix: np.ndarray) -> np.ndarray:
    """(height, width, 3) between two muted colours."""
    grey = rng.uniform(0.15, 0.6)
    dark = np.array([grey + rng.uniform(-0.12, 0.12) for _ in range(3)])
    light = dark + rng.uniform(0.15, 0.4) + np.array([rng.uniform(-0.08, 0.08) for _ in range(3)])
    return dark + mix[..., None] * (light - dark)


def _water(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Ripples that grow closer towards a horizon, below a sky."""
    y, x = np.mgrid[0 : 1 : size[1] * 1j, 0 : 1 : size[0] * 1j]
    horizon = rng.uniform(0.2, 0.5)
    far = 1 / np.maximum(y - horizon + 0.05, 0.05)
    bent = field(values, size, 1.4)[..., 0]
    waves = 0.5 + 0.25 * np.sin(far * rng.uniform(10, 30) + 8 * bent) + 0.25 * np.sin(x * far * 9 + 12 * bent)
    sky = 0.7 + 0.3 * field(values, size, 1.9)[..., 0]
    return np.where((y > horizon)[..., None], _between(rng, waves), _between(rng, sky))


def _hair(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Thousands of thin strokes in about one direction: fur, straw, grass."""
    image = Image.fromarray((_between(rng, field(values, size, 1.5)[..., 0]) * 255).astype(np.uint8))
    pen, angle, tone = ImageDraw.Draw(image), rng.uniform(0, 3.1), rng.randrange(60, 200)
    for _ in range(rng.randint(1500, 4000)):
        x, y, turn = rng.uniform(0, size[0]), rng.uniform(0, size[1]), angle + rng.gauss(0, 0.25)
        long, light = rng.uniform(6, 30), rng.randrange(-55, 55)
        colour = (tone + light, tone - 10 + light, max(0, tone - 30 + light))
        pen.line((x, y, x + long * math.cos(turn), y + long * math.sin(turn)), colour)
    return np.asarray(image, np.float64) / 255


def _marble(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Veins of stone or wood."""
    y, x = np.mgrid[0 : 1 : size[1] * 1j, 0 : 1 : size[0] * 1j]
    bent = field(values, size, rng.uniform(1.2, 1.8))[..., 0]
    veins = np.abs(
        np.sin((x * rng.uniform(2, 8) + y * rng.uniform(0, 4) + bent * rng.uniform(2, 6)) * math.pi)
    )
    return _between(rng, veins ** rng.uniform(0.5, 2))


DRAWERS = {
    "TEXT": draw_text,
    "TABLE": draw_table,
    "CHART": draw_chart,
    "DRAWING": draw_drawing,
    "PHOTO": draw_photo,
}
