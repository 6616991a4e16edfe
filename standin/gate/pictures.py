"""A picture of a kind from a seed, as a file may hold it: compressed, scanned, grey, with a margin.

The splits share no seeds. "heldout" has fonts, papers, styles and colour maps that "train" never has; the
pictures of "unseen" are made by other generators as well.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from standin.gate import unseen
from standin.gate.chart import draw_chart
from standin.gate.drawing import draw_drawing
from standin.gate.photo import draw_photo
from standin.gate.sheet import HELD_OUT, TRAINED, Means, any_size, vivid
from standin.gate.table import draw_table
from standin.gate.text import draw_text

Draw = Callable[[random.Random, Means], Image.Image]


def draw_blank(rng: random.Random, means: Means) -> Image.Image:
    """A picture of a single colour; `means` are not used."""
    grey = rng.choice((255, 255, 0, rng.randrange(256)))
    return Image.new("RGB", any_size(rng, 32, 800), (grey,) * 3 if rng.random() < 0.6 else vivid(rng))


DRAWERS: dict[str, Draw] = {
    "TEXT": draw_text,
    "TABLE": draw_table,
    "CHART": draw_chart,
    "DRAWING": draw_drawing,
    "PHOTO": draw_photo,
    "BLANK": draw_blank,
}
KINDS: tuple[str, ...] = tuple(DRAWERS)
"""In the order of the network's outputs."""
PAPER = ("TEXT", "TABLE", "DRAWING")
"""What is printed and scanned."""


@dataclass(frozen=True)
class Split:
    """How the pictures of a split are drawn."""

    means: Means
    drawers: dict[str, Draw]


SPLITS = {
    "train": Split(TRAINED, DRAWERS),
    "heldout": Split(HELD_OUT, DRAWERS),
    "unseen": Split(HELD_OUT, DRAWERS | unseen.DRAWERS),
}


def draw(split: str, kind: str, seed: int) -> Image.Image:
    """`split` is a name of SPLITS."""
    rng = random.Random(f"gate-{split}/{kind}/{seed}")
    image = SPLITS[split].drawers[kind](rng, SPLITS[split].means)
    if kind == "BLANK":
        return image
    if kind in PAPER and rng.random() < 0.15:
        image = _scanned(image, rng)
    if rng.random() < (0.2 if kind == "PHOTO" else 0.08):
        image = ImageOps.grayscale(image).convert("RGB")
    if rng.random() < 0.06:
        image = ImageOps.expand(
            image, rng.randint(2, 40), vivid(rng) if rng.random() < 0.3 else (255, 255, 255)
        )
    if kind in PAPER and rng.random() < 0.04:
        image = image.transpose(Image.Transpose.ROTATE_90)
    return _compressed(image, rng) if rng.random() < 0.4 else image


def cut(image: Image.Image, seed: int) -> Image.Image:
    """A part of at least three quarters of each side, at another scale: it still shows the kind."""
    rng = random.Random(f"gate-cut/{seed}")
    width, height = (max(1, round(side * rng.uniform(0.75, 1))) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    scale = rng.uniform(0.6, 1.5)
    size = max(16, round(width * scale)), max(16, round(height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))


def _scanned(image: Image.Image, rng: random.Random) -> Image.Image:
    """Turned a little, unevenly lit, blurred and noisy."""
    corner = image.getpixel((0, 0))
    image = image.rotate(rng.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=corner)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
    pixels = np.asarray(image, np.float64)
    y, x = np.mgrid[0 : 1 : pixels.shape[0] * 1j, 0 : 1 : pixels.shape[1] * 1j]
    light = 1 - rng.uniform(0, 0.5) * np.clip(x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1), 0, 1)
    values = np.random.default_rng(rng.getrandbits(32))
    pixels = pixels * light[..., None] + values.normal(0, rng.uniform(0, 8), (*light.shape, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _compressed(image: Image.Image, rng: random.Random) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=rng.randint(35, 95))
    return Image.open(file).convert("RGB")
