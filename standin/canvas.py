"""A picture that remembers what was drawn where: glyphs, words, numbers and colours.

Every draw call goes to the RGB picture and to a map of colour classes, and every text is noted glyph by
glyph, so that training can ask the tower for the content of each patch. Independent of kinds of pictures and of
questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from standin.lexicon import COLOUR_ID

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Glyph:
    """One printed character and the centre of its box in pixels."""

    char: str
    x: float
    y: float


@dataclass(frozen=True)
class Item:
    """One printed word or number, the centre of its box in pixels, and its height."""

    text: str
    x: float
    y: float


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType: the built-in scalable font is missing")
    return font


@lru_cache(maxsize=20000)
def _stamp(text: str, size: int) -> tuple[Image.Image, int, tuple[float, ...]]:
    """Mask of one text, its top offset, and the centre x of each of its characters."""
    font = _font(size)
    _, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (max(1, int(right)), max(1, int(bottom - top))))
    ImageDraw.Draw(mask).text((0, -top), text, fill=255, font=font)
    ends = [font.getlength(text[:count]) for count in range(len(text) + 1)]
    centres = tuple((a + b) / 2 for a, b in pairwise(ends))
    return mask, int(top), centres


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height in pixels of a text at a font size, as it will be drawn."""
    return _stamp(text, size)[0].size


@dataclass(frozen=True)
class Bond:
    """What belongs to the thing at (x, y): the words that name a number, the shape that a patch is part of."""

    x: float
    y: float
    first: str
    second: str


class Canvas:
    """An RGB picture of `width` x `height` pixels together with the record of what it shows."""

    def __init__(self, width: int, height: int, background: Colour = (255, 255, 255)) -> None:
        self.image = Image.new("RGB", (width, height), background)
        self.classes = Image.new("L", (width, height), 0)
        self.glyphs: list[Glyph] = []
        self.items: list[Item] = []
        self.bonds: list[Bond] = []
        self._pen = ImageDraw.Draw(self.image)
        self._class_pen = ImageDraw.Draw(self.classes)

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    def text(self, x: float, y: float, text: str, size: int, colour: Colour = (20, 20, 20)) -> None:
        """Draw one word or number with the top left corner of its ink at (x, y)."""
        mask, _, centres = _stamp(text, size)
        left, top = round(x), round(y)
        self.image.paste(colour, (left, top), mask)
        middle = top + mask.height / 2
        self.glyphs += [
            Glyph(char, left + centre, middle)
            for char, centre in zip(text, centres, strict=True)
            if char != " "
        ]
        self.items.append(Item(text, left + mask.width / 2, middle))

    def centred(self, x: float, y: float, text: str, size: int, colour: Colour = (20, 20, 20)) -> None:
        """Draw one word or number around (x, y), on the baseline that puts a digit's centre at y."""
        mask, top, _ = _stamp(text, size)
        digit, digit_top, _ = _stamp("0", size)
        self.text(x - mask.width / 2, y - digit.height / 2 + top - digit_top, text, size, colour)

    def bind(self, x: float, y: float, first: str, second: str) -> None:
        """Note what belongs to the thing at (x, y); nothing is drawn."""
        self.bonds.append(Bond(x, y, first, second))

    def rectangle(self, box: tuple[float, float, float, float], fill: Colour, name: str = "") -> None:
        self._pen.rectangle(box, fill=fill)
        self._class_pen.rectangle(box, fill=COLOUR_ID.get(name, 0))

    def ellipse(self, box: tuple[float, float, float, float], fill: Colour, name: str = "") -> None:
        self._pen.ellipse(box, fill=fill)
        self._class_pen.ellipse(box, fill=COLOUR_ID.get(name, 0))

    def polygon(self, points: list[tuple[float, float]], fill: Colour, name: str = "") -> None:
        self._pen.polygon(points, fill=fill)
        self._class_pen.polygon(points, fill=COLOUR_ID.get(name, 0))

    def pieslice(
        self, box: tuple[float, float, float, float], start: float, end: float, fill: Colour, name: str
    ) -> None:
        self._pen.pieslice(box, start, end, fill=fill)
        self._class_pen.pieslice(box, start, end, fill=COLOUR_ID.get(name, 0))

    def line(self, points: list[tuple[float, float]], fill: Colour, width: int = 1) -> None:
        self._pen.line(points, fill=fill, width=width)
