"""Measures of detail on drawn pictures, whose true values are known."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from bench.parts.photo import photo
from bench.parts.screens import draw_screens
from encoder_svc.images.detail import BLANK_RANGE, DetailMeasures, measure
from standin import canvas
from standin.draw import DRAWERS
from standin.lexicon import WORDS
from tests.encoder.images.files import encoded

SIZES = ((640, 480), (800, 600))
FONTS = (9, 11, 12, 14, 16, 20, 24, 32, 40, 48)
GROUNDS = {
    "plain": ((255, 255, 255), (15, 15, 15)),
    "inverted": ((18, 20, 30), (240, 240, 240)),
    "coloured": ((250, 230, 200), (150, 40, 40)),
    "faint": ((250, 250, 250), (150, 150, 150)),
}


def measured_detail(image: Image.Image) -> DetailMeasures:
    return measure(image, np.array(image))


def high(size: int) -> float:
    """From the top of a tall letter to its baseline, in pixels."""
    _, top, _, bottom = ImageFont.load_default(size).getbbox("H")
    return bottom - top


def page(rng: random.Random, ground: str, font: int, size: tuple[int, int]) -> Image.Image:
    paper, ink = GROUNDS[ground]
    image = Image.new("RGB", size, paper)
    pen, face = ImageDraw.Draw(image), ImageFont.load_default(font)
    for y in np.arange(font, size[1] - 2 * font, font * rng.choice([1.2, 1.4, 1.8])):
        line = " ".join(rng.choice((word, word.title(), str(rng.randint(10, 9999)))) for word in WORDS)
        letters = rng.randint(len(line) // 3, len(line))
        pen.text((2 * font, y), line[: min(letters, int(size[0] / font * 1.4))], ink, face)
    return image


def pages() -> Iterator[tuple[str, float, float]]:
    rng = random.Random(5)
    for ground in GROUNDS:
        for font in FONTS:
            drawn_page = page(rng, ground, font, rng.choice(SIZES))
            yield f"{ground} {font}", high(font), measured_detail(drawn_page).text_height


def drawn(monkeypatch: pytest.MonkeyPatch, scales: tuple[int, ...]) -> Iterator[tuple[str, float, float]]:
    """Enlarged stand-in pictures; the smallest font that prints at least four letters."""
    letters: dict[int, int] = {}
    printed = canvas.Canvas.text

    def noted(self: canvas.Canvas, x: float, y: float, text: str, size: int, *colour: canvas.Colour) -> None:
        letters[size] = letters.get(size, 0) + len(text)
        printed(self, x, y, text, size, *colour)

    monkeypatch.setattr(canvas.Canvas, "text", noted)
    rng = random.Random(6)
    for number in range(5 * len(DRAWERS)):
        letters.clear()
        made = DRAWERS[number % len(DRAWERS)](rng, *rng.choice([(256, 256), (384, 256), (448, 320)]))
        common = [size for size, count in letters.items() if count >= 4]
        if not common:
            continue
        scale, image = rng.choice(scales), made.canvas.image
        larger = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
        yield f"{made.kind} x{scale}", scale * high(min(common)), measured_detail(larger).text_height


def hold(cases: Iterator[tuple[str, float, float]]) -> None:
    """Nine of ten within a quarter, and hardly any overestimated, which would make text unreadable."""
    measured = [(name, truth, height / truth) for name, truth, height in cases]
    ratios = np.array([ratio for _, _, ratio in measured])
    near, over = float((abs(ratios - 1) <= 0.25).mean()), float((ratios > 1.25).mean())
    spread = np.round(np.percentile(ratios, [5, 50, 95]), 2)
    print(f"{len(measured)} cases, {near:.0%} within a quarter, {over:.0%} above, 5/50/95 % {spread}")
    far = [case for case in measured if abs(case[2] - 1) > 0.25]
    assert near >= 0.9, far
    assert over <= 0.04, far


def test_the_height_of_printed_text_on_any_ground() -> None:
    hold(pages())


def test_the_height_of_text_in_the_pictures_of_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(drawn(monkeypatch, (1,)))


def test_the_height_of_text_in_enlarged_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(drawn(monkeypatch, (2, 3, 4)))


def test_the_smallest_common_text_counts_not_the_heading_and_not_the_most() -> None:
    image = Image.new("RGB", (900, 1100), (255, 255, 255))
    pen, y = ImageDraw.Draw(image), 20
    for font, lines in ((44, 1), (22, 16), (12, 8)):
        for _ in range(lines):
            pen.text((40, y), " ".join(islice(WORDS, 12)), (0, 0, 0), ImageFont.load_default(font))
            y += int(1.4 * font)
    assert measured_detail(image).text_height == pytest.approx(high(12), rel=0.25)


def bench_photo(seed: int) -> Image.Image:
    return opened(photo(seed, 700))


def noise(seed: int, coarse: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (coarse, coarse, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((700, 700), Image.Resampling.BICUBIC)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def gradient() -> Image.Image:
    ramp = np.linspace(0, 255, 800)[None, :, None]
    return Image.fromarray(np.tile(ramp, (500, 1, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    "picture",
    [
        gradient,
        *(lambda s=s: bench_photo(s) for s in range(3)),
        *(lambda c=c: noise(1, c) for c in (60, 200, 700)),
    ],
)
def test_no_text_is_seen_in_what_is_like_a_photograph(picture: Callable[[], Image.Image]) -> None:
    seen = measured_detail(picture())
    assert (seen.text_height, seen.kind) == (0.0, "PHOTO")


def test_a_page_is_text_a_chart_is_a_graphic() -> None:
    rng = random.Random(1)
    assert measured_detail(page(rng, "plain", 16, (800, 600))).kind == "TEXT"
    assert measured_detail(DRAWERS[0](rng, 448, 320).canvas.image).kind == "GRAPHIC"


def test_a_screen_with_a_few_paragraphs_is_text() -> None:
    """Their text covers less than a page's."""
    kinds = [measured_detail(opened(screen.data)).kind for screen in draw_screens(12, 3)]
    assert kinds == ["TEXT"] * len(kinds)


def test_a_short_note_on_an_empty_screen_is_text() -> None:
    image = Image.new("RGB", (1024, 768), (30, 30, 30))
    pen = ImageDraw.Draw(image)
    for row in range(5):
        line = " ".join(WORDS[10 * row : 10 * row + 10])
        pen.text((40, 300 + 28 * row), line, (230, 230, 230), ImageFont.load_default(18))
    assert measured_detail(image).kind == "TEXT"


def test_labels_beside_what_is_drawn_make_no_text() -> None:
    """Of charts, maps and diagrams; nearly all stay graphics."""
    rng = random.Random(8)
    graphics = [DRAWERS[number % 3](rng, 448, 320).canvas.image for number in range(30)]
    kinds = [measured_detail(image).kind for image in graphics]
    assert kinds.count("TEXT") <= 1, kinds


def test_a_note_beside_a_picture_is_no_text() -> None:
    image = Image.new("RGB", (1024, 768), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for row in range(5):
        line = " ".join(WORDS[10 * row : 10 * row + 10])
        pen.text((40, 40 + 28 * row), line, (20, 20, 20), ImageFont.load_default(18))
    assert measured_detail(image).kind == "TEXT"
    for ring in range(60):
        pen.arc((300 - 4 * ring, 460 - 4 * ring, 600 + 4 * ring, 500 + 4 * ring), 0, 180, (200, 30, 30), 2)
    assert measured_detail(image).kind == "GRAPHIC"


@pytest.mark.parametrize("size", [(640, 480), (33, 17), (5, 3), (1, 1)])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_of_one_colour_is_blank_in_every_format(size: tuple[int, int], format: str) -> None:
    lossless = {"lossless": True} if format == "WEBP" else {}
    for colour, options in (((255, 255, 255), {}), ((0, 0, 0), {}), ((173, 54, 201), lossless)):
        file = io.BytesIO(encoded(Image.new("RGB", size, colour), format, **options))
        assert measured_detail(Image.open(file).convert("RGB")).kind == "BLANK"


@pytest.mark.parametrize("place", [(0, 0), (479, 639), (13, 200), (18, 9)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_single_other_pixel_is_not_blank_once_it_differs_by_more_than_the_tolerance(
    place: tuple[int, int], channel: int
) -> None:
    pixels = np.full((480, 640, 3), 200, np.uint8)
    pixels[*place, channel] = 200 + BLANK_RANGE
    assert measure(Image.fromarray(pixels), pixels).kind == "BLANK"
    pixels[*place, channel] = 200 + BLANK_RANGE + 1
    assert measure(Image.fromarray(pixels), pixels).kind != "BLANK"


def test_a_slow_gradient_is_not_blank() -> None:
    pixels = np.repeat(np.arange(200, 204, dtype=np.uint8), 120)[:, None, None].repeat(300, 1).repeat(3, 2)
    assert measure(Image.fromarray(pixels), pixels).kind != "BLANK"


def test_lines_bars_and_dots_are_no_text() -> None:
    image = Image.new("RGB", (600, 600), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for step in range(20):
        at = 10 + 29 * step
        pen.line((at, 0, 600 - at, 600), (0, 0, 0), 2)
        pen.line((0, at, 600, at), (60, 60, 60))
        pen.rectangle((at, 300, at + 14, 312), (200, 30, 30))
        pen.ellipse((at, 400, at + 10, 410), (30, 30, 200))
    assert measured_detail(image).text_height == 0


def test_uniform_squares_are_counted_in_colour() -> None:
    pixels = np.full(
        (96, 101, 3), 200, np.uint8
    )  # three by three squares; the incomplete rest does not count
    assert measure(Image.fromarray(pixels), pixels).uniform_share == 1
    pixels[5, 7] = (201, 200, 197)  # as bright as before
    pixels[40, 40] = 0
    assert measure(Image.fromarray(pixels), pixels).uniform_share == pytest.approx(7 / 9)


def test_edges_are_where_brightness_changes_sharply() -> None:
    pixels = np.zeros((100, 101, 3), np.uint8)
    pixels[:, 50:] = 255
    assert measure(Image.fromarray(pixels), pixels).edge_density == pytest.approx(1 / 100)


@pytest.mark.parametrize("size", [(1, 1), (8, 3), (5000, 1), (1, 5000), (33, 17), (64, 16)])
def test_images_of_any_size_are_measured(size: tuple[int, int]) -> None:
    measured_detail(Image.new("RGB", size, (9, 9, 9)))
    measured_detail(Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)))


def test_text_of_a_page_on_its_side_is_detected() -> None:
    """Its height may be underestimated."""
    rng = random.Random(2)
    for font in (12, 20, 32):
        turned = page(rng, "plain", font, (800, 600)).transpose(Image.Transpose.ROTATE_90)
        assert 0 < measured_detail(turned).text_height <= 1.25 * high(font)
