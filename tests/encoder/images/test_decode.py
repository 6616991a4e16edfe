"""Decoding matches what a viewer shows: upright, on white, eight bits, the first frame."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from encoder_svc.images.decode import DecodedImage, decode
from encoder_svc.images.limits import ImageLimits
from fovea.contract.rows import digest
from tests.encoder.images.files import FORMATS, encoded, picture, with_orientation

# Whatever Pillow warns about is handled or refused here.
pytestmark = pytest.mark.filterwarnings(
    "ignore::PIL.Image.DecompressionBombWarning", "ignore:Corrupt EXIF data:UserWarning"
)

LIMITS = ImageLimits()

# The definition of each orientation in the EXIF standard, as an operation on (height, width, 3).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def decoded(data: bytes) -> DecodedImage:
    return decode(data, LIMITS)


def near(actual: npt.NDArray[Any], expected: npt.NDArray[Any], by: int) -> bool:
    return bool(np.abs(actual.astype(int) - expected.astype(int)).max() <= by)


@pytest.mark.parametrize("format", FORMATS)
def test_pixels_and_facts_of_each_format(format: str) -> None:
    """Lossy formats may be off by a few of 255; a swapped channel or side is off by far more."""
    data = encoded(picture(), format, **({"lossless": True} if format == "WEBP" else {}))
    made = decoded(data)
    assert near(made.rgb, picture(), by=0 if format in ("PNG", "WEBP") else 32)
    facts = made.facts
    assert (facts.format, facts.width, facts.height) == (format, 48, 32)
    assert (facts.byte_size, facts.digest) == (len(data), digest(data))
    assert (facts.exif_orientation, facts.had_alpha) == (1, False)


def test_the_pixels_are_contiguous_bytes_of_their_own() -> None:
    made = decoded(encoded(picture()))
    assert made.rgb.dtype == np.uint8
    assert made.rgb.flags.c_contiguous
    assert made.rgb.base is None


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int, format: str) -> None:
    made = decoded(with_orientation(orientation, format))
    assert near(made.rgb, UPRIGHT[orientation](picture()), by=16 if format == "JPEG" else 0)
    height, width = made.rgb.shape[:2]
    assert (made.facts.width, made.facts.height) == (width, height)
    assert made.facts.exif_orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_out_of_range_changes_nothing(orientation: int) -> None:
    made = decoded(with_orientation(orientation))
    assert np.array_equal(made.rgb, picture())
    assert made.facts.exif_orientation == 1


@pytest.mark.parametrize("junk", [b"Exif\0\0", b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_a_picture_with_malformed_exif_is_shown_as_it_lies(format: str, junk: bytes) -> None:
    made = decoded(encoded(picture(), format, exif=junk))
    assert made.rgb.shape == (32, 48, 3)
    assert made.facts.exif_orientation == 1


def on_white(rgb: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[Any]:
    share = alpha[..., None] / 255
    return np.rint(rgb * share + 255 * (1 - share))


def alpha_ramp() -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.linspace(0, 255, 48).astype(np.uint8), (32, 48)).copy()


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_half_transparent_colour_is_laid_on_white(format: str) -> None:
    """Our rounding of a product may differ from Pillow's by 1; black for white differs by 255."""
    layered = np.dstack([picture(), alpha_ramp()])
    made = decoded(encoded(layered, format, lossless=True, exact=True))
    assert near(made.rgb, on_white(picture(), alpha_ramp()), by=1)
    assert made.facts.had_alpha


def test_half_transparent_grey_is_laid_on_white() -> None:
    grey = picture()[..., 0]
    made = decoded(encoded(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha_ramp())])))
    assert near(made.rgb, on_white(np.dstack([grey] * 3), alpha_ramp()), by=1)
    assert made.facts.had_alpha


def two_halves(mode: str, left: Any, right: Any) -> Image.Image:
    image = Image.new(mode, (8, 4), right)
    image.paste(left, (0, 0, 4, 4))
    return image


def palette_image() -> Image.Image:
    image = two_halves("P", 0, 1)
    image.putpalette([200, 10, 20, 30, 40, 250])
    return image


def grey_of_16_bits(left: int, right: int) -> Image.Image:
    return Image.fromarray(np.repeat(np.array([[left, right]], np.uint16), 4, 1).repeat(4, 0))


@pytest.mark.parametrize(
    ("image", "options", "right"),
    [
        (two_halves("RGB", (200, 10, 20), (30, 40, 250)), {"transparency": (200, 10, 20)}, (30, 40, 250)),
        (two_halves("L", 7, 90), {"transparency": 7}, (90, 90, 90)),
        (two_halves("1", 0, 1), {"transparency": 0}, (255, 255, 255)),
        (palette_image(), {"transparency": 0}, (30, 40, 250)),
        (palette_image(), {"transparency": b"\0\xff"}, (30, 40, 250)),
        (grey_of_16_bits(7, 25_700), {"transparency": 7}, (100, 100, 100)),
        (grey_of_16_bits(0, 255), {"transparency": 0}, (1, 1, 1)),
    ],
    ids=[
        "rgb",
        "grey",
        "bilevel",
        "palette index",
        "palette table",
        "grey of 16 bits",
        "dark grey of 16 bits",
    ],
)
def test_a_colour_declared_transparent_becomes_white(
    image: Image.Image, options: dict[str, Any], right: tuple[int, int, int]
) -> None:
    made = decoded(encoded(image, "PNG", **options))
    assert (made.rgb[:, :4] == 255).all()
    assert (made.rgb[:, 4:] == right).all()
    assert made.facts.had_alpha


def test_a_transparent_gif_is_laid_on_white() -> None:
    made = decoded(encoded(palette_image(), "GIF", transparency=0))
    assert (made.rgb[:, :4] == 255).all()
    assert (made.rgb[:, 4:] == (30, 40, 250)).all()


def test_an_opaque_alpha_channel_is_no_alpha() -> None:
    opaque = np.dstack([picture(), np.full((32, 48), 255, np.uint8)])
    made = decoded(encoded(opaque))
    assert np.array_equal(made.rgb, picture())
    assert not made.facts.had_alpha


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped() -> None:
    values = np.linspace(0, 65_535, 64 * 16).astype(np.uint16).reshape(16, 64)
    made = decoded(encoded(values))
    expected = np.rint(values / 257)
    assert near(made.rgb, np.dstack([expected] * 3), by=0)


def test_cmyk_is_converted_to_the_colours_that_it_prints() -> None:
    made = decoded(encoded(two_halves("CMYK", (255, 0, 0, 0), (0, 0, 0, 255)), "JPEG", quality=100))
    assert near(made.rgb[:, :2], np.full((4, 2, 3), (0, 255, 255)), by=8)
    assert near(made.rgb[:, 6:], np.zeros((4, 2, 3)), by=8)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_bilevel_and_palette_files_come_out_as_rgb(mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    made = decoded(encoded(image))
    assert np.array_equal(made.rgb, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_decoded(format: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"save_all": True, "append_images": frames[1:], "lossless": True}
    made = decoded(encoded(frames[0].convert("P") if format == "GIF" else frames[0], format, **options))
    assert (made.rgb == (255, 0, 0)).all()


def test_a_jpeg_with_a_second_picture_behind_it_is_a_jpeg() -> None:
    first, second = Image.fromarray(picture()), Image.new("RGB", (48, 32), "blue")
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    made = decoded(data)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert made.facts.format == "JPEG"
    assert near(made.rgb, picture(), by=16)


def test_equal_pixels_share_a_pixel_digest_but_no_id() -> None:
    plain = decoded(encoded(picture())).facts
    others = [
        decoded(encoded(picture(), compress_level=0)).facts,
        decoded(encoded(picture()) + b"junk behind the end").facts,
        decoded(encoded(np.dstack([picture(), np.full((32, 48), 255, np.uint8)]))).facts,
        decoded(encoded(picture(), "WEBP", lossless=True)).facts,
    ]
    assert {other.pixel_digest for other in others} == {plain.pixel_digest}
    assert len({plain.digest} | {other.digest for other in others}) == 5


def test_different_pixels_have_different_pixel_digests() -> None:
    made = {decoded(with_orientation(turn)).facts.pixel_digest for turn in UPRIGHT}
    made.add(decoded(encoded(picture(32, 48))).facts.pixel_digest)
    made.add(decoded(encoded(picture()[..., ::-1].copy())).facts.pixel_digest)
    made.add(decoded(encoded(np.zeros((30, 150, 3), np.uint8))).facts.pixel_digest)
    made.add(decoded(encoded(np.zeros((150, 30, 3), np.uint8))).facts.pixel_digest)
    assert len(made) == 12
