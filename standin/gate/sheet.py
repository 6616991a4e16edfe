"""A sheet to draw on: its size, paper, ink and real fonts. Knows no kind of picture."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from standin.draw.style import jitter
from standin.lexicon import WORDS

Colour = tuple[int, int, int]
Fonts = tuple[str, ...]

PLAIN = (255, 255, 255)
MONO = {"DejaVuSansMono", "DejaVuSansMono-Bold", "cmtt10"}
ENDINGS = ("", "", "", "", "", ",", ".", ";", ":", "!", "?")


@dataclass(frozen=True)
class Means:
    """What the pictures of a split are drawn with: fonts, papers, dark papers, styles and maps of matplotlib.

    The empty font is Pillow's own. A paper that is named often is common.
    """

    fonts: Fonts
    papers: tuple[Colour, ...]
    darks: tuple[Colour, ...]
    styles: tuple[str, ...]
    maps: tuple[str, ...]


TRAINED = Means(
    fonts=(
        "", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono",
        "STIXGeneral", "STIXGeneralBol", "cmr10", "cmti10",
    ),
    papers=(PLAIN, PLAIN, PLAIN, (248, 246, 240), (240, 240, 244), (230, 224, 205)),
    darks=((18, 20, 26), (40, 44, 52), (0, 0, 0), (8, 32, 60)),
    styles=(
        "default", "default", "ggplot", "bmh", "seaborn-v0_8", "seaborn-v0_8-whitegrid", "seaborn-v0_8-ticks",
        "dark_background", "fivethirtyeight", "grayscale", "classic", "Solarize_Light2",
    ),
    maps=("viridis", "plasma", "coolwarm", "Greys", "Blues", "RdYlGn", "inferno", "tab20c", "hot", "Spectral"),
)  # fmt: skip
HELD_OUT = Means(
    fonts=(
        "DejaVuSerif-Italic", "DejaVuSansMono-Bold", "DejaVuSans-BoldOblique", "STIXGeneralItalic", "cmss10", "cmtt10",
    ),
    papers=(PLAIN, PLAIN, (236, 242, 248), (252, 250, 224), (226, 234, 226)),
    darks=((28, 24, 38), (12, 40, 30), (52, 24, 24)),
    styles=("tableau-colorblind10", "seaborn-v0_8-darkgrid", "seaborn-v0_8-pastel", "petroff10"),
    maps=("magma", "cividis", "YlGnBu", "PuOr", "cubehelix", "Set3"),
)  # fmt: skip
"""But for plain white and the stand-in's pictures, training never sees any of these."""


@lru_cache(maxsize=512)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    if not name:
        return ImageFont.load_default(size)  # type: ignore[return-value]
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf" / f"{name}.ttf", size)


def any_size(rng: random.Random, low: int = 220, high: int = 1100, tallest: float = 1.5) -> tuple[int, int]:
    """Width and height; the larger sides are rarer, the aspect is at most `tallest` either way."""
    long = low * (high / low) ** rng.random()
    aspect = math.exp(rng.uniform(-1, 1) * math.log(tallest))
    width, height = (long, long / aspect) if aspect > 1 else (long * aspect, long)
    return max(96, round(width)), max(96, round(height))


def light_or_dark(rng: random.Random, means: Means, dark_share: float = 0.25) -> tuple[Colour, Colour]:
    """A paper and an ink that stand apart."""
    if rng.random() < dark_share:
        ink = rng.choice(((235, 235, 235), (170, 220, 170), (200, 205, 215)))
        return jitter(rng, rng.choice(means.darks), 10), jitter(rng, ink, 15)
    base = rng.choice(means.papers)
    paper = base if base == PLAIN and rng.random() < 0.5 else jitter(rng, base, 6)
    return paper, jitter(rng, rng.choice(((15, 15, 18), (50, 50, 60), (20, 30, 80))), 15)


def vivid(rng: random.Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def word(rng: random.Random) -> str:
    """A word of the lexicon or of no language, a number, in any case."""
    kind = rng.random()
    if kind < 0.1:
        return f"{rng.randrange(10 ** rng.randint(1, 5)):,}"
    if kind < 0.45:
        text = rng.choice(WORDS)
    else:
        text = "".join(
            rng.choices("etaoinshrdlucmfwypvbgk", k=rng.choice((1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10)))
        )
    return (text.title() if rng.random() < 0.15 else text) + rng.choice(ENDINGS)


def words(rng: random.Random, count: int) -> str:
    return " ".join(word(rng) for _ in range(count))


class Sheet:
    """An RGB picture in the making, drawn with the means of its split."""

    def __init__(
        self, rng: random.Random, means: Means, size: tuple[int, int], dark_share: float = 0.25
    ) -> None:
        self.rng = rng
        self.means = means
        self.width, self.height = size
        self.paper, self.ink = light_or_dark(rng, means, dark_share)
        self.font = rng.choice(means.fonts)
        self.image = Image.new("RGB", size, self.paper)
        self.pen = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: int, colour: Colour | None = None) -> None:
        self.pen.text((round(x), round(y)), text, colour or self.ink, font(self.font, size))

    def length(self, text: str, size: int) -> float:
        return font(self.font, size).getlength(text)

    def tint(self, by: float) -> Colour:
        """Between the paper and the ink: 0 is the paper."""
        red, green, blue = (round(p + by * (i - p)) for p, i in zip(self.paper, self.ink, strict=True))
        return red, green, blue

    def line_of(self, room: float, size: int) -> str:
        """A line of words that fits."""
        text = words(self.rng, max(1, int(room / size / 2.6)))
        while text and self.length(text, size) > room:
            text = text.rpartition(" ")[0]
        return text
