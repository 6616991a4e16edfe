"""Refused files: each with its own error, which names the limit, before any decoding."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from encoder_svc.images.decode import decode
from encoder_svc.images.header import SCANS, opened
from encoder_svc.images.limits import ImageLimits
from fovea.contract.errors import (
    AspectTooExtreme,
    FoveaError,
    ImageCorrupt,
    ImageEmpty,
    ImageFormatNotSupported,
    ImageSideTooLong,
    ImageTooLarge,
    ImageTooManyPixels,
    ImageTooManyScans,
)
from fovea.images.jpeg import scan_count
from tests.encoder.images.files import BOMBS, FORMATS, encoded, gif, jpeg, jpeg_with_scans, picture, png, webp

# Whatever Pillow warns about is handled or refused here.
pytestmark = pytest.mark.filterwarnings(
    "ignore::PIL.Image.DecompressionBombWarning", "ignore:Corrupt EXIF data:UserWarning"
)

LIMITS = ImageLimits()
LEAK = re.compile(r"0x[0-9a-f]{4,}|BytesIO|Traceback|/[a-z]+/|PIL", re.IGNORECASE)


def refusal(data: bytes, limits: ImageLimits = LIMITS) -> FoveaError:
    with pytest.raises(FoveaError) as caught:
        decode(data, limits)
    text = " ".join([caught.value.message, *caught.value.metadata.values()])
    assert not LEAK.search(text), text
    return caught.value


def test_no_bytes_are_an_empty_image() -> None:
    assert isinstance(refusal(b""), ImageEmpty)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_corrupt(format: str, share: float) -> None:
    """Of noise, so that every part of the file carries pixels."""
    noise = Image.effect_noise((96, 80), 90).convert("RGB")
    data = encoded(noise, format)
    error = refusal(data[: int(share * len(data))])
    assert isinstance(error, ImageCorrupt)
    assert error.metadata == {"format": format}
    assert error.violations[0].field == "data"


@pytest.mark.parametrize("start", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFFxxxxWEBP", b"GIF89a"])
@pytest.mark.parametrize("rest", [b"", b"\0" * 100, b"\xff" * 100, b"junk" * 50])
def test_junk_behind_a_right_beginning_is_corrupt(start: bytes, rest: bytes) -> None:
    assert isinstance(refusal(start + rest), ImageCorrupt)


@pytest.mark.parametrize("format", ["BMP", "TIFF", "ICO", "PPM", "TGA", "JPEG2000", "AVIF", "PDF"])
def test_other_formats_are_refused_by_their_bytes(format: str) -> None:
    error = refusal(encoded(picture(), format))
    assert isinstance(error, ImageFormatNotSupported)
    assert error.metadata["supported"] == "JPEG,PNG,WEBP,GIF"


@pytest.mark.parametrize("data", [b"hello", b"<svg></svg>", b"\0", b"RIFFxxxxWAVE", b"%PDF-1.7"])
def test_bytes_that_are_not_an_image_are_refused(data: bytes) -> None:
    assert isinstance(refusal(data), ImageFormatNotSupported)


def test_a_format_can_be_removed_from_the_accepted_list() -> None:
    error = refusal(encoded(picture(), "GIF"), replace(LIMITS, formats=("PNG", "JPEG")))
    assert isinstance(error, ImageFormatNotSupported)


def test_bytes_at_the_limit_pass_and_more_do_not() -> None:
    data = encoded(picture())
    decode(data, replace(LIMITS, max_image_bytes=len(data)))
    error = refusal(data, replace(LIMITS, max_image_bytes=len(data) - 1))
    assert isinstance(error, ImageTooLarge)
    assert error.metadata == {"limit": str(len(data) - 1), "actual": str(len(data))}


def test_pixels_at_the_limit_pass_and_another_row_does_not() -> None:
    limits = replace(LIMITS, max_image_pixels=48 * 32)
    decode(encoded(picture(48, 32)), limits)
    error = refusal(encoded(picture(48, 33)), limits)
    assert isinstance(error, ImageTooManyPixels)
    assert error.metadata == {"width": "48", "height": "33", "limit": "1536", "actual": "1584"}


def test_errors_of_too_large_images_mention_fit() -> None:
    data = encoded(picture())
    for limits in (
        replace(LIMITS, max_image_pixels=9),
        replace(LIMITS, max_image_side=9),
        replace(LIMITS, max_image_bytes=9),
    ):
        assert "`fit`" in refusal(data, limits).message


def test_a_side_at_the_limit_passes_and_a_longer_side_does_not() -> None:
    limits = replace(LIMITS, max_image_side=48)
    decode(encoded(picture(48, 32)), limits)
    error = refusal(encoded(picture(49, 32)), limits)
    assert isinstance(error, ImageSideTooLong)
    assert (error.metadata["limit"], error.metadata["actual"]) == ("48", "49")


@pytest.mark.parametrize("turned", [False, True])
def test_an_aspect_of_200_passes_and_of_201_does_not(turned: bool) -> None:
    decode(encoded(picture(1, 200) if turned else picture(200, 1)), LIMITS)
    error = refusal(encoded(picture(1, 201) if turned else picture(201, 1)))
    assert isinstance(error, AspectTooExtreme)
    assert (error.metadata["limit"], error.metadata["actual"]) == ("200", "201.0")


def test_scans_at_the_limit_pass_and_more_do_not() -> None:
    decode(jpeg_with_scans(100), LIMITS)
    error = refusal(jpeg_with_scans(101))
    assert isinstance(error, ImageTooManyScans)
    assert error.metadata == {"limit": "100", "actual": "101"}


def test_a_jpeg_of_the_most_pixels_may_have_fewer_scans() -> None:
    limits = replace(LIMITS, max_image_pixels=64 * 64)
    decode(jpeg_with_scans(SCANS), limits)
    error = refusal(jpeg_with_scans(SCANS + 1), limits)
    assert isinstance(error, ImageTooManyScans)
    assert error.metadata == {"limit": str(SCANS), "actual": str(SCANS + 1)}
    decode(jpeg_with_scans(2 * SCANS), replace(LIMITS, max_image_pixels=2 * 64 * 64))


@pytest.mark.parametrize("progressive", [False, True])
def test_scans_are_counted_as_the_file_has_them(progressive: bool) -> None:
    """Noise at quality 100 fills the scan with FF bytes; an EXIF thumbnail is a JPEG of its own."""
    noise = Image.effect_noise((200, 160), 120).convert("RGB")
    exif = b"Exif\0\0" + encoded(picture(), "JPEG")
    data = encoded(noise, "JPEG", quality=100, progressive=progressive, exif=exif)
    assert data.count(b"\xff\x00") > 100
    assert scan_count(data, stop_after=1000) == (10 if progressive else 1)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_on_its_header(name: str) -> None:
    assert len(BOMBS[name]) < 1_500_000
    expected = ImageTooManyScans if "scans" in name else ImageTooManyPixels
    assert isinstance(refusal(BOMBS[name]), expected)


def test_the_header_bombs_are_well_formed_as_far_as_their_headers_go() -> None:
    """Otherwise they would be refused as corrupt and prove nothing about the limits."""
    for make in (png, webp, gif, jpeg):
        still = opened(make(1200, 700), LIMITS)
        assert (still.width, still.height) == (1200, 700)


def test_all_bombs_together_cost_no_memory() -> None:
    """In a separate process, so that the peak is of this work: Pillow alone would take gigabytes."""
    program = """
import resource
from encoder_svc.images.decode import decode
from encoder_svc.images.limits import ImageLimits
from fovea.contract.errors import FoveaError
from tests.encoder.images.files import BOMBS, encoded, picture

decode(encoded(picture()), ImageLimits())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for data in BOMBS.values():
    try:
        decode(data, ImageLimits())
    except FoveaError:
        continue
    raise SystemExit("a bomb was decoded")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64, "MiB"


@pytest.mark.parametrize("format", FORMATS)
def test_a_mutated_image_is_decoded_or_refused_with_a_typed_error(format: str) -> None:
    draw = random.Random(format)
    whole = encoded(picture(), format, **({} if format == "GIF" else {"exif": Image.Exif().tobytes()}))
    outcomes = {"decoded": 0, "refused": 0}
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(data))
            data[place : place + draw.choice([0, 1, 1, 1, 8])] = draw.randbytes(draw.choice([0, 1, 1, 4]))
        try:
            decode(bytes(data), LIMITS)
            outcomes["decoded"] += 1
        except FoveaError as error:
            outcomes["refused"] += not LEAK.search(error.message)
    assert sum(outcomes.values()) == 400, "a message quotes Pillow"
    assert min(outcomes.values()) > 0, "both outcomes must occur"
