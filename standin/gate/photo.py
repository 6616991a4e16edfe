"""Photo-like pictures without a photo: shapes that hide each other, landscapes, textures, cells, skies, scenes.

Overlapping shapes whose sizes follow a power law (dead leaves) share the statistics of natural images: edges
at all scales. Texture, shading, blur, vignette and noise do the rest.
"""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from standin.draw import draw_scene
from standin.gate.drawing import blob
from standin.gate.sheet import Means, any_size

Floats = np.ndarray


def draw_photo(rng: random.Random, means: Means) -> Image.Image:
    """`means` are not used."""
    if rng.random() < 0.1:
        scene = draw_scene(rng, *any_size(rng, 240, 420, 1.4)).canvas.image
        scale = rng.choice((1, 1, 2))
        return scene.resize((scene.width * scale, scene.height * scale), Image.Resampling.BICUBIC)
    size = any_size(rng, 160, 360, 1.6)
    draw = rng.choices(tuple(DRAWS), tuple(DRAWS.values()))[0]
    return _camera(rng, draw(rng, np.random.default_rng(rng.getrandbits(32)), size))


def field(values: np.random.Generator, size: tuple[int, int], slope: float, channels: int = 1) -> Floats:
    """(height, width, channels) of noise whose amplitude falls with frequency by `slope`; 0 to 1."""
    height, width = size[1], size[0]
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    fall = np.maximum(np.hypot(down, right), 1 / max(size)).astype(np.float32) ** -slope
    layers = []
    for _ in range(channels):
        spectrum = fall * np.exp(2j * np.pi * values.random(fall.shape))
        layer = np.fft.irfft2(spectrum, (height, width))
        low, high = np.percentile(layer[::3, ::3] if height > 8 else layer, (1, 99))
        layers.append(np.clip((layer - low) / max(high - low, 1e-9), 0, 1))
    return np.stack(layers, -1).astype(np.float32)


def _tones(rng: random.Random) -> tuple[Floats, Floats]:
    """Two muted colours, 0 to 1, as light and matter make them."""
    base = np.array([rng.uniform(0.1, 0.8) for _ in range(3)], np.float32)
    base = base.mean() + (base - base.mean()) * rng.uniform(0.2, 1)
    other = np.clip(
        base + rng.uniform(-0.35, 0.35) + np.array([rng.uniform(-0.1, 0.1) for _ in range(3)], np.float32),
        0,
        1,
    )
    return base, other


def _texture(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    first, second = _tones(rng)
    mix = field(values, size, rng.uniform(0.6, 2.0))
    return first * (1 - mix) + second * mix


def _leaves(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Textured shapes of all sizes, each over those before."""
    picture, long = _texture(rng, values, size), max(size)
    sheets = [_texture(rng, values, size) for _ in range(3)]
    smallest = rng.uniform(0.01, 0.06)
    for _ in range(rng.randint(6, 50)):
        radius = long * min(0.5, smallest * rng.random() ** -0.7)
        mask = Image.new("L", size, 0)
        outline = blob(
            rng, rng.uniform(0, size[0]), rng.uniform(0, size[1]), radius, rng.choice((0, 0, 0, 4))
        )
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        if rng.random() < 0.4:
            mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 8)))
        share = np.asarray(mask, np.float32)[..., None] / 255
        first, second = _tones(rng)
        body = rng.choice(sheets) * 0.5 + 0.5 * (first + (second - first) * _ramp(rng, size))
        picture = picture * (1 - share) + body * share
    return picture


def _ramp(rng: random.Random, size: tuple[int, int]) -> Floats:
    """Light that falls from one side."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    angle = rng.uniform(0, 6.3)
    light = 0.5 + 0.5 * (np.cos(angle) * (x / size[0] - 0.5) + np.sin(angle) * (y / size[1] - 0.5))
    return light[..., None].astype(np.float32)


def _landscape(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """A sky with clouds above ridges that grow clearer."""
    sky, haze = _tones(rng)
    clouds = field(values, size, rng.uniform(1.2, 2)) ** rng.uniform(1, 3)
    down = np.linspace(0, 1, size[1])[:, None, None]
    picture = (sky * (1 - down) + haze * down) * (1 - 0.5 * clouds) + 0.5 * clouds
    for layer in range(rng.randint(1, 5)):
        ridge = field(values, (size[0], 2), rng.uniform(0.8, 1.4))[0, :, 0]
        top = (0.35 + 0.15 * layer + 0.2 * (ridge - 0.5)) * size[1]
        below = (np.arange(size[1])[:, None] > top[None])[..., None]
        ground = _texture(rng, values, size) * rng.uniform(0.5, 1)
        clear = min(1.0, 0.4 + 0.2 * layer)
        picture = np.where(below, ground * clear + haze * (1 - clear), picture)
    return picture


def _surface(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """One texture from edge to edge: grain, grass, weave, bricks."""
    picture = _texture(rng, values, size)
    if rng.random() < 0.4:
        y, x = np.mgrid[0 : size[1], 0 : size[0]]
        period = max(size) / rng.uniform(4, 40)
        bent = 6 * field(values, size, 1.5)[..., 0]
        weave = np.sin(2 * np.pi * x / period + bent) * np.sin(
            2 * np.pi * y / period / rng.uniform(0.5, 1) + bent
        )
        picture = picture * (1 + rng.uniform(0.1, 0.4) * weave[..., None])
    return picture


def _cells(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Round bodies on a plain ground: coins, cells, stones, fruit."""
    first, second = _tones(rng)
    picture = first + 0.15 * (field(values, size, 1.6) - 0.5)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    radius = max(size) * rng.uniform(0.02, 0.16)
    for _ in range(rng.randint(3, 40)):
        ours, at = radius * rng.uniform(0.6, 1.3), (rng.uniform(0, size[0]), rng.uniform(0, size[1]))
        near = np.hypot(x - at[0], (y - at[1]) * rng.uniform(0.8, 1.2)) / ours
        share = np.clip((1 - near) * ours / rng.uniform(1.5, 6), 0, 1)[..., None]
        shade = (1 - 0.5 * near**2 + 0.3 * (x - at[0]) / ours)[..., None]
        picture = picture * (1 - share) + second * shade * share
    return picture + 0.1 * (field(values, size, 1.0) - 0.5)


def _night(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Lights or a round body in the dark."""
    tone, glow = _tones(rng)
    picture = 0.15 * tone * field(values, size, 1.8)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    for _ in range(rng.choice((1, 3, 40, 150))):
        radius = max(size) * 0.003 * rng.random() ** -1.1
        far = np.hypot(x - rng.uniform(0, size[0]), y - rng.uniform(0, size[1])) / min(
            radius, max(size) * 0.35
        )
        picture = picture + (rng.uniform(0.3, 1) * np.exp(-(far**2)))[..., None] * (0.5 + 0.5 * glow)
    return picture


def _portrait(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """A body in focus before a blurred ground."""
    picture = _ground(rng, values, size)
    for _ in range(rng.randint(1, 4)):
        x, y = size[0] * rng.uniform(0.3, 0.7), size[1] * rng.uniform(0.3, 0.8)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(blob(rng, x, y, min(size) * rng.uniform(0.1, 0.4)), fill=255)
        share = np.asarray(mask.filter(ImageFilter.GaussianBlur(2)), np.float64)[..., None] / 255
        body = _texture(rng, values, size) * (0.4 + 0.9 * _ramp(rng, size))
        picture = picture * (1 - share) + body * share
    return picture


def _ground(rng: random.Random, values: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Leaves out of focus, or as in a studio: white, black or a tone with light from a side."""
    if rng.random() < 0.65:
        leaves = Image.fromarray(_bytes(_leaves(rng, values, size)))
        return np.asarray(leaves.filter(ImageFilter.GaussianBlur(max(size) / 25)), np.float64) / 255
    light = rng.choice((0.0, 0.03, 1.0, *_tones(rng)))
    return light * (1 - rng.uniform(0, 0.5) * (1 - _ramp(rng, size)))


def _bytes(picture: Floats) -> np.ndarray:
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _camera(rng: random.Random, picture: Floats) -> Image.Image:
    """Exposure, vignette, blur, size and sensor noise."""
    height, width, _ = picture.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    picture = np.clip(picture, 0, 1) ** rng.uniform(0.6, 1.6)
    picture = picture * (1 - rng.uniform(0, 0.4) * (x**2 + y**2)[..., None] / 2)
    image = Image.fromarray(_bytes(picture)).filter(ImageFilter.GaussianBlur(rng.choice((0, 0, 0.7, 1.5))))
    if rng.random() < 0.5:
        scale = rng.uniform(1, 2.5)
        image = image.resize((round(scale * width), round(scale * height)), Image.Resampling.BICUBIC)
    values = np.random.default_rng(rng.getrandbits(32))
    noise = values.normal(0, rng.uniform(0, 9), (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


DRAWS = {_leaves: 3, _landscape: 2, _surface: 1.3, _cells: 1.2, _night: 0.8, _portrait: 2}
"""With the weight of each."""
