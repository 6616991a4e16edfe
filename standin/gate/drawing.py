"""Pictures of drawings: logos, icons, diagrams, line art, cartoons, patterns, sketches, maps.

Few words, no data and no texture of a photograph.
"""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from standin.gate.sheet import Colour, Means, Sheet, any_size, vivid, words

Point = tuple[float, float]
FINE = 2
"""Curves are drawn larger by this and shrunk, which smooths their edges."""


def draw_drawing(rng: random.Random, means: Means) -> Image.Image:
    draw = rng.choices(tuple(DRAWS), tuple(DRAWS.values()))[0]
    sheet = Sheet(rng, means, any_size(rng, 128, 800, 1.6), 0.25)
    if rng.random() < 0.2:
        sheet.paper = vivid(rng)
        sheet.image.paste(sheet.paper, (0, 0, *sheet.image.size))
    draw(sheet)
    return _icon(sheet.image, rng) if rng.random() < 0.12 else sheet.image


def _icon(image: Image.Image, rng: random.Random) -> Image.Image:
    side = rng.randint(24, 96)
    return image.resize((side, side), Image.Resampling.BOX)


def blob(rng: random.Random, x: float, y: float, radius: float, corners: int = 0) -> list[Point]:
    """A closed outline around a point: a smooth one, or with corners."""
    count = corners or 60
    waves = [(rng.randint(1, 6), rng.uniform(0, 0.25), rng.uniform(0, 6.3)) for _ in range(3)]
    turn = rng.uniform(0, 6.3)
    points = []
    for place in range(count):
        angle = 2 * math.pi * place / count
        far = 1 + sum(size * math.sin(count_ * angle + phase) for count_, size, phase in waves)
        if corners:
            far = rng.uniform(0.6, 1)
        points.append((x + radius * far * math.cos(angle + turn), y + radius * far * math.sin(angle + turn)))
    return points


def curve(rng: random.Random, width: float, height: float, points: int = 5) -> list[Point]:
    """A smooth open line (Catmull-Rom) through random places."""
    knots = np.array([(rng.uniform(0, width), rng.uniform(0, height)) for _ in range(points + 2)])
    at = np.linspace(0, 1, 24)[:, None]
    path = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        bend = (2 * a - 5 * b + 4 * c - d) * at**2 + (3 * b - a - 3 * c + d) * at**3
        path += ((2 * b + (c - a) * at + bend) / 2).tolist()
    return [(x, y) for x, y in path]


def _smoothly(sheet: Sheet) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    large = Image.new("RGB", (sheet.width * FINE, sheet.height * FINE), sheet.paper)
    return large, ImageDraw.Draw(large)


def _finish(sheet: Sheet, large: Image.Image) -> None:
    sheet.image.paste(large.resize(sheet.image.size, Image.Resampling.BOX))


def _shape(
    pen: ImageDraw.ImageDraw, rng: random.Random, x: float, y: float, radius: float, fill: Colour
) -> None:
    outline, width = (vivid(rng), rng.randint(1, 6)) if rng.random() < 0.3 else (None, 0)
    box = (x - radius, y - radius * rng.uniform(0.5, 1), x + radius, y + radius)
    kind = rng.randrange(6)
    if kind == 0:
        pen.ellipse(box, fill, outline, width)
    elif kind == 1:
        pen.rectangle(box, fill, outline, width)
    elif kind == 2:
        pen.rounded_rectangle(box, radius * 0.3, fill, outline, width)
    elif kind == 3:
        pen.pieslice(box, rng.uniform(0, 360), rng.uniform(0, 360), fill, outline, width)
    else:
        pen.polygon(blob(rng, x, y, radius, rng.choice((0, 3, 4, 5, 6, 10))), fill, outline, width)


def _logo(sheet: Sheet) -> None:
    """A mark of few flat shapes, often with a name."""
    rng, (large, pen) = sheet.rng, _smoothly(sheet)
    middle = large.width * rng.uniform(0.35, 0.65), large.height * rng.uniform(0.35, 0.6)
    side = min(large.size)
    colours = [vivid(rng) for _ in range(rng.randint(1, 3))]
    for _ in range(rng.randint(1, 6)):
        x, y = (at + rng.uniform(-0.2, 0.2) * side for at in middle)
        _shape(pen, rng, x, y, side * rng.uniform(0.06, 0.42), rng.choice(colours))
    _finish(sheet, large)
    if rng.random() < 0.45:
        size = max(9, round(sheet.height * rng.uniform(0.08, 0.3)))
        text = words(rng, 1).title()
        sheet.text(
            (sheet.width - sheet.length(text, size)) / 2, sheet.height * rng.uniform(0.3, 0.75), text, size
        )


def _flat(sheet: Sheet) -> None:
    """Many flat shapes, or a few behind each other: a cartoon, a poster."""
    rng, (large, pen) = sheet.rng, _smoothly(sheet)
    if rng.random() < 0.5:  # hills under a sky with a sun
        pen.rectangle((0, 0, *large.size), fill=vivid(rng))
        _shape(pen, rng, large.width * rng.random(), large.height * 0.25, min(large.size) * 0.13, vivid(rng))
        for layer in range(rng.randint(1, 4)):
            base, waves = large.height * (0.45 + 0.15 * layer), rng.uniform(2, 12) / large.width
            hills = [
                (x, base + 0.1 * large.height * math.sin(x * waves + layer))
                for x in range(0, large.width + 8, 8)
            ]
            pen.polygon([(0, large.height), *hills, (large.width, large.height)], fill=vivid(rng))
    for _ in range(rng.randint(2, 25)):
        radius = min(large.size) * rng.uniform(0.02, 0.2)
        _shape(pen, rng, rng.uniform(0, large.width), rng.uniform(0, large.height), radius, vivid(rng))
    _finish(sheet, large)


def _line_art(sheet: Sheet) -> None:
    """Outlines of one colour."""
    rng, (large, pen) = sheet.rng, _smoothly(sheet)
    width = rng.randint(2, 9)
    for _ in range(rng.randint(2, 14)):
        if rng.random() < 0.5:
            radius = min(large.size) * rng.uniform(0.05, 0.4)
            points = blob(
                rng,
                rng.uniform(0, large.width),
                rng.uniform(0, large.height),
                radius,
                rng.choice((0, 0, 4, 6)),
            )
            pen.line([*points, points[0]], sheet.ink, width, "curve")
        else:
            pen.line(curve(rng, *large.size, rng.randint(3, 6)), sheet.ink, width, "curve")
    _finish(sheet, large)


def _silhouette(sheet: Sheet) -> None:
    """A body of a single colour on another."""
    rng, (large, pen) = sheet.rng, _smoothly(sheet)
    ink, side = (sheet.ink if rng.random() < 0.7 else vivid(rng)), min(large.size)
    x, y = large.width / 2, large.height / 2
    pen.polygon(blob(rng, x, y, side * rng.uniform(0.2, 0.4)), fill=ink)
    for _ in range(rng.randint(0, 7)):
        end = x + rng.uniform(-0.45, 0.45) * side, y + rng.uniform(-0.45, 0.45) * side
        pen.line((x, y, *end), ink, round(side * rng.uniform(0.03, 0.12)))
        radius = side * rng.uniform(0.02, 0.12)
        pen.ellipse((end[0] - radius, end[1] - radius, end[0] + radius, end[1] + radius), fill=ink)
    _finish(sheet, large)


def _diagram(sheet: Sheet) -> None:
    """Boxes joined by arrows, with a word each."""
    rng, pen = sheet.rng, sheet.pen
    columns, rows = rng.randint(2, 4), rng.randint(2, 4)
    wide, high = sheet.width / columns, sheet.height / rows
    size = max(8, round(min(wide, high) * rng.uniform(0.12, 0.2)))
    places = [
        (wide * (c + 0.5), high * (r + 0.5))
        for c in range(columns)
        for r in range(rows)
        if rng.random() < 0.75
    ]
    for _ in range(len(places)):
        (x1, y1), (x2, y2) = rng.choice(places), rng.choice(places)
        pen.line(
            (x1, y1, x2, y2) if rng.random() < 0.6 else (x1, y1, x1, y2, x2, y2),
            sheet.ink,
            rng.choice((1, 2, 3)),
        )
    fill = vivid(rng) if rng.random() < 0.6 else sheet.paper
    for x, y in places:
        box = (x - wide * 0.36, y - high * 0.25, x + wide * 0.36, y + high * 0.25)
        draw = rng.choice((pen.rectangle, pen.rectangle, pen.ellipse))
        draw(box, fill, sheet.ink, rng.choice((1, 2)))
        text = sheet.line_of(wide * 0.6, size)
        if rng.random() < 0.8:
            sheet.text(x - sheet.length(text, size) / 2, y - size * 0.6, text, size)


def _pattern(sheet: Sheet) -> None:
    """Squares, stripes, dots or rings that repeat."""
    rng, pen = sheet.rng, sheet.pen
    step = max(4, round(min(sheet.image.size) / rng.randint(2, 16)))
    colours = [sheet.ink, *(vivid(rng) for _ in range(rng.randint(0, 2)))]
    kind = rng.randrange(4)
    for row, y in enumerate(range(0, sheet.height, step)):
        for column, x in enumerate(range(0, sheet.width, step)):
            colour = colours[(row + column) % len(colours)]
            box = (x, y, x + step - 1, y + step - 1)
            if (kind == 0 and (row + column) % 2) or (kind == 1 and column % 2):
                pen.rectangle(box, fill=colour)
            elif kind == 2:
                pen.ellipse((x + 1, y + 1, x + step * 0.8, y + step * 0.8), fill=colour)
            elif kind == 3:
                pen.arc(
                    (x - step, y - step, x + step, y + step),
                    0,
                    180 * (1 + row % 2),
                    colour,
                    max(1, step // 8),
                )


def _map(sheet: Sheet) -> None:
    """Regions of flat colours, some with borders and names."""
    rng = sheet.rng
    seeds = np.array([(rng.uniform(0, 1), rng.uniform(0, 1)) for _ in range(rng.randint(4, 30))])
    y, x = np.mgrid[0 : sheet.height, 0 : sheet.width]
    wave = rng.uniform(0, 0.03)
    place = np.stack([x / sheet.width + wave * np.sin(y / 17), y / sheet.height + wave * np.sin(x / 13)], -1)
    nearest = np.stack([((place - seed) ** 2).sum(-1) for seed in seeds]).argmin(0)
    colours = np.array([vivid(rng) for _ in seeds], np.uint8)
    sheet.image.paste(Image.fromarray(colours[nearest]))
    if rng.random() < 0.6:
        border = (np.diff(nearest, axis=0, prepend=nearest[:1]) != 0) | (
            np.diff(nearest, axis=1, prepend=nearest[:, :1]) != 0
        )
        sheet.image.paste(
            sheet.ink,
            (0, 0),
            Image.fromarray((border * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(3)),
        )
    for _ in range(rng.choice((0, 0, 2, 5))):
        sheet.text(rng.uniform(0, sheet.width * 0.8), rng.uniform(0, sheet.height * 0.9), words(rng, 1), 12)


def _sketch(sheet: Sheet) -> None:
    """Strokes of a pencil: outlines and hatching."""
    rng, (large, pen) = sheet.rng, _smoothly(sheet)
    for _ in range(rng.randint(1, 5)):
        x, y = rng.uniform(0.1, 0.9) * large.width, rng.uniform(0.1, 0.9) * large.height
        radius, angle = min(large.size) * rng.uniform(0.1, 0.4), rng.uniform(0, 3.1)
        points = blob(rng, x, y, radius)
        for _ in range(rng.randint(1, 3)):
            pen.line(
                [(px + rng.uniform(-3, 3), py + rng.uniform(-3, 3)) for px, py in [*points, points[0]]],
                sheet.ink,
                2,
            )
        for _ in range(rng.randint(0, 60)):
            hx, hy, long = (
                x + rng.uniform(-1, 1) * radius * 0.7,
                y + rng.uniform(-1, 1) * radius * 0.7,
                radius * 0.25,
            )
            pen.line(
                (hx, hy, hx + long * math.cos(angle), hy + long * math.sin(angle)),
                sheet.tint(rng.uniform(0.3, 0.9)),
                2,
            )
    _finish(sheet, large)


def _shaded(sheet: Sheet) -> None:
    """Vector shapes with smooth gradients, as icons have them."""
    rng = sheet.rng
    for _ in range(rng.randint(1, 5)):
        mask = Image.new("L", sheet.image.size, 0)
        radius = min(sheet.image.size) * rng.uniform(0.1, 0.45)
        x, y = sheet.width * rng.uniform(0.2, 0.8), sheet.height * rng.uniform(0.2, 0.8)
        ImageDraw.Draw(mask).polygon(blob(rng, x, y, radius, rng.choice((0, 0, 4, 8))), fill=255)
        ramp = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize(sheet.image.size)
        first, second = (Image.new("RGB", sheet.image.size, vivid(rng)) for _ in range(2))
        sheet.image.paste(
            Image.composite(first, second, ramp), (0, 0), mask.filter(ImageFilter.GaussianBlur(0.7))
        )


DRAWS = {
    _logo: 2.5, _flat: 2, _line_art: 2, _silhouette: 1.2, _diagram: 2, _pattern: 1, _map: 0.8, _sketch: 1.2, _shaded: 1.2,
}  # fmt: skip
"""With the weight of each."""
