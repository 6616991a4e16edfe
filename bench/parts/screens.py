"""Screenshots of plain text, drawn with real fonts: laptop screens with letters, notes and messages.

Fonts are those that matplotlib brings. Text covers an eighth to a fifth of a screen, as far as its lines
reach. Each text has planted facts that a question may ask for.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf")
HEIGHTS = (12, 14, 16, 18, 20, 24)
SIZES = ((1024, 768), (1280, 800), (1440, 900), (1280, 960))
COVERED = (0.125, 0.2)
COLUMN = (0.6, 0.75)
"""Shares of a screen's pixels, and of its width."""
PAPERS = (("white", "black"), ("#f4f4f0", "#202020"), ("#1e1e1e", "#e0e0e0"))
"""Ground and ink; the last is a dark theme."""
MARGIN, LEADING = 24, 1.4
TEXTS = (
    "Dear {name}, thank you for your order {number} of {date}. The parcel leaves our warehouse in "
    "{city} tomorrow and should arrive within three working days. The total of {amount} was charged to "
    "your card.",
    "Meeting notes, {date}. {name} reported that the migration of {city} is two weeks late. The budget "
    "grows by {amount}. Ticket {number} stays open until the vendor answers. Next meeting on Thursday "
    "at nine.",
    "Your appointment is confirmed. Please come to the clinic in {city} on {date} at a quarter past two "
    "and bring reference {number}. If you cannot come, call {name} one day ahead, or a fee of {amount} "
    "applies.",
    "Error report {number}. The backup of {date} ended early because the disk in {city} was full. "
    "{name} removed old archives and started it again. Storage for another year costs {amount}; please "
    "approve the purchase.",
    "Hello {name}, the landlord in {city} agreed to lower the rent to {amount} from {date} on. Sign the "
    "contract with number {number} and send it back before the end of the month. Call me if anything is "
    "unclear.",
    "Release notes. Build {number} of {date} fixes the slow start that users in {city} had reported. "
    "{name} wrote the patch and measured it twice. The license costs {amount} a year and renews by "
    "itself.",
)
NAMES = ("Maria Keller", "John Okafor", "Li Wei", "Anna Novak", "Peter Lindqvist", "Sofia Marino")
CITIES = ("Hamburg", "Nairobi", "Toronto", "Lyon", "Osaka", "Valencia")
MONTHS = ("January", "March", "May", "July", "September", "November")


@dataclass(frozen=True)
class Screen:
    """A screenshot as a PNG file, the text on it, and the facts that were planted in the text."""

    data: bytes
    text: str
    facts: tuple[str, ...]
    height: int
    font: str


def draw_screens(count: int, seed: int) -> list[Screen]:
    """Every text height and font in turn; sizes, papers and texts at random."""
    rng = random.Random(f"screens/{seed}")
    return [
        _draw(rng, FONTS[at % len(FONTS)], HEIGHTS[(at + at // 12) % len(HEIGHTS)]) for at in range(count)
    ]


def draw_dense(count: int, seed: int) -> list[Screen]:
    """Pages full of small text, which costs more tokens as text than as pixels."""
    rng = random.Random(f"dense/{seed}")
    return [_draw(rng, FONTS[at % len(FONTS)], HEIGHTS[0], dense=True) for at in range(count)]


def _draw(rng: random.Random, name: str, height: int, dense: bool = False) -> Screen:
    font, step = ImageFont.truetype(str(font_folder() / name), height), round(height * LEADING)
    width, tall = rng.choice(SIZES)
    column = round(width * (1 if dense else rng.uniform(*COLUMN))) - 2 * MARGIN
    room = (tall - 2 * MARGIN) // step
    wanted = room if dense else round(width * tall * rng.uniform(*COVERED) / (column * step))
    lines, planted = list[str](), list[str]()
    while len(lines) < wanted:
        values = _facts(rng)
        added = [*_wrapped(rng.choice(TEXTS).format(**values), font, column), ""]
        if len(lines) + len(added) > room + 1:
            break
        lines += added
        planted += values.values()
    lines.pop()
    left, top = MARGIN, MARGIN if dense else rng.randrange(MARGIN, tall - MARGIN - step * len(lines))
    ground, ink = rng.choice(PAPERS)
    picture = Image.new("RGB", (width, tall), ground)
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        pen.text((left, top + row * step), line, ink, font)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Screen(buffer.getvalue(), "\n".join(lines), tuple(planted), height, name)


def _facts(rng: random.Random) -> dict[str, str]:
    return {
        "name": rng.choice(NAMES),
        "city": rng.choice(CITIES),
        "number": f"{rng.choice('ABCDEFGH')}{rng.randrange(10_000, 99_999)}",
        "date": f"{rng.randrange(1, 29)} {rng.choice(MONTHS)} {rng.randrange(2021, 2031)}",
        "amount": f"{rng.randrange(20, 9_000)}.{rng.randrange(100):02} EUR",
    }


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> Sequence[str]:
    lines, line = list[str](), ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def font_folder() -> Path:
    return Path(matplotlib.get_data_path()) / "fonts/ttf"
