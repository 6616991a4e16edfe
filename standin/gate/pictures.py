"""A picture of a kind from a seed, as a file may hold it: compressed, scanned, grey, with a margin.

Splits share neither seeds nor fonts, so nothing of the held-out pictures is trained on.
"""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from standin.gate.chart import draw_chart
from standin.gate.drawing import draw_drawing
from standin.gate.photo import draw_photo
from standin.gate.sheet import HELD_OUT, TRAINED, Fonts, any_size, vivid
from standin.gate.table import draw_table
from standin.gate.text import draw_text


def draw_blank(rng: random.Random, fonts: Fonts) -> Image.Image:
    """A picture of a single colour; `fonts` are not used."""
    grey = rng.choice((255, 255, 0, rng.randrange(256)))
    return Image.new("RGB", any_size(rng, 32, 800), (grey,) * 3 if rng.random() < 0.6 else vivid(rng))


DRAWERS = {
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


def draw(split: str, kind: str, seed: int) -> Image.Image:
    """`split` is "train" or "heldout"."""
    rng = random.Random(f"gate-{split}/{kind}/{seed}")
    image = DRAWERS[kind](rng, HELD_OUT if split == "heldout" else TRAINED)
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
