"""Shrinking before upload: what the service would do anyway, never more, and only if it saves bytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fovea import images
from fovea.client import Budget, fit
from fovea.client.fitting import fitted_size
from fovea.contract.errors import SizeInvalid
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry
from fovea.images import shown
from tests.e2e.pictures import pixels
from tests.fovea.images.files import chunk, gif, png, raw_profile, rows, tiff, with_chunk, xmp

LIMIT = 131_072
LARGE = (640, 480)


def file(image: Image.Image, format: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def noise(width: int = LARGE[0], height: int = LARGE[1], seed: int = 0) -> Image.Image:
    return Image.fromarray(pixels(width, height, seed))


def without_last_scan(jpeg: bytes) -> bytes:
    return jpeg[: jpeg.rindex(b"\xff\xda")] + b"\xff\xd9"


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("format", "becomes"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "PNG"), ("GIF", "PNG")]
)
def test_a_large_picture_becomes_what_is_planned_for_it(format, becomes):
    options = {"lossless": True} if format == "WEBP" else {}
    data = file(noise(), format, **options)
    fitted = fit(data, LIMIT)
    planned = Geometry().plan(*LARGE, LIMIT)
    assert opened(fitted).format == becomes
    assert opened(fitted).size == (planned.width, planned.height) != LARGE
    assert len(fitted) < len(data)


def test_without_a_limit_the_request_default_applies():
    data = file(noise(1600, 1200), "JPEG", quality=95)
    fitted = fit(data)
    assert opened(fitted).size == (1312, 960)
    assert fitted == fit(data, DEFAULT_MAX_PIXELS)


def test_a_picture_of_a_path_is_read_and_gives_the_same_bytes_each_time(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(file(noise(), "PNG"))
    assert fit(path, LIMIT) == fit(str(path), LIMIT) == fit(path.read_bytes(), LIMIT) != path.read_bytes()
    with pytest.raises(FileNotFoundError):
        fit(tmp_path / "none.png")


def test_fitted_pixels_equal_those_of_the_service():
    planned = Geometry().plan(*LARGE, LIMIT)
    fitted = opened(fit(file(noise(), "PNG"), LIMIT))
    expected = noise().resize((planned.width, planned.height), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(fitted), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_image_is_displayed_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    fitted = opened(fit(file(noise(), "PNG", exif=exif), LIMIT))
    shown = LARGE if orientation < 5 else LARGE[::-1]
    planned = Geometry().plan(*shown, LIMIT)
    assert fitted.size == (planned.width, planned.height)
    assert fitted.getexif().get(0x0112, 1) == 1


def test_transparency_is_composited_on_white():
    layered = noise().convert("RGBA")
    alpha = np.zeros(LARGE[::-1], np.uint8)
    alpha[: LARGE[1] // 2] = 255
    layered.putalpha(Image.fromarray(alpha))
    fitted = opened(fit(file(layered, "PNG"), LIMIT))
    below = np.asarray(fitted)[-32:]
    assert fitted.mode == "RGB"
    assert below.min() == 255
    assert np.asarray(fitted)[:32].min() < 255


def test_grey_stays_grey():
    assert opened(fit(file(noise().convert("L"), "JPEG", quality=95), LIMIT)).mode == "L"


def as_the_service_draws(data: bytes) -> np.ndarray:
    image = shown(images.opened(data)).image
    planned = Geometry().plan(*image.size, LIMIT)
    return np.asarray(image.resize((planned.width, planned.height), Image.Resampling.BICUBIC))


def large(left: list[int], right: list[int]) -> np.ndarray:
    """Two colours, and noise in a corner so that shrinking the file saves bytes."""
    samples = np.zeros((480, 640, len(left)), np.uint16)
    samples[:, :320], samples[:, 320:] = left, right
    samples[:100, :200] = np.random.default_rng(0).integers(0, 200, (100, 200, len(left)))
    return samples


FAITHFUL = {
    "grey of 16 bits": png(large([0x4040], [0xC0C0]), 16, 0),
    "RGB of 16 bits with a transparent colour": png(
        large([0] * 3, [0x4000] * 3), 16, 2, extra=chunk(b"tRNS", struct.pack(">3H", *[0x4000] * 3))
    ),
    "grey of 4 bits with a transparent colour": png(
        large([3], [9]) & 15, 4, 0, extra=chunk(b"tRNS", struct.pack(">H", 9))
    ),
    "a GIF frame smaller than its screen": gif(
        (640, 480), (100, 50, 300, 200), list(range(1, 3)) * 30_000, palette=b"\0\xff\0\xff\0\0\0\0\xff"
    ),
    "a raw profile with an orientation": with_chunk(
        file(noise(), "PNG"),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(tiff(6)))),
    ),
    "compressed XMP with an orientation": with_chunk(
        file(noise(), "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(8)))
    ),
    "a text of 1.5 MB": with_chunk(
        file(noise(), "PNG"), chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"a" * 1_500_000))
    ),
    "a JPEG without its end marker": file(noise(), "JPEG", quality=95)[:-2],
}


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_fitted_file_decodes_to_the_pixels_of_the_service(name):
    fitted = fit(FAITHFUL[name], LIMIT)
    assert fitted is not FAITHFUL[name]
    by = 24 if "JPEG" in name else 0
    pixels = np.asarray(opened(fitted)).astype(int)
    assert np.abs(pixels - as_the_service_draws(FAITHFUL[name])).max() <= by


UNCHANGED = {
    "small enough": file(noise(320, 256), "PNG"),
    "would be enlarged": file(noise(96, 64), "PNG"),
    "would be enlarged on one side": file(noise(300, 340), "PNG"),
    "smaller as it was written": file(Image.new("P", LARGE), "PNG"),
    "longer than allowed": file(Image.new("RGB", (4020, 20)), "PNG"),
    "cut off and closed": file(noise(), "JPEG")[:50_000] + b"\xff\xd9",
    "rows missing": png(
        np.asarray(noise()).astype(np.uint16), 8, 2, data=b"".join(rows(np.asarray(noise())[:400], 8))
    ),
    "a progressive scan missing": without_last_scan(file(noise(), "JPEG", progressive=True, quality=95)),
    "GIF cut off and closed": file(noise().quantize(64), "GIF")[:80_000] + b"\0;",
    "cut off": file(noise(), "JPEG")[:50_000],
    "damaged": file(noise(), "PNG")[:60] + bytes(200_000),
    "another format": file(noise(), "BMP"),
    "text": b"not a picture",
    "empty": b"",
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_bytes_are_unchanged_if_shrinking_saves_nothing_or_fails(name):
    assert fit(UNCHANGED[name], LIMIT) is UNCHANGED[name]


def test_a_size_that_the_service_would_change_is_not_used():
    """63 tokens are below the minimum pixels: the service would enlarge them to 80."""
    assert fitted_size(1296, 1008, Budget(max_pixels=65_536)) is None
    assert fitted_size(20_000, 100, Budget()) is None, "16192x64 is too thin"


def test_fit_follows_the_sides_and_tokens_of_a_budget():
    data = file(noise(), "PNG")
    short = fit(data, budget=Budget(max_short_side=320))
    assert min(opened(short).size) == 320
    few = opened(fit(data, budget=Budget(max_visual_tokens=100, max_short_side=320)))
    assert few.width * few.height <= 100 * 1024
    assert fit(data, budget=Budget(max_visual_tokens=1)) == fit(data, 65_536), "no image is planned smaller"
    assert fit(data, LIMIT, budget=Budget(detail="low")) == fit(data, LIMIT)
    with pytest.raises(ValueError, match="max_pixels"):
        fit(data, LIMIT, budget=Budget(max_pixels=LIMIT))


def test_a_limit_of_no_pixels_is_an_invalid_argument():
    with pytest.raises(SizeInvalid):
        fit(UNCHANGED["small enough"], 0)
