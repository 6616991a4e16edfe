"""WebP: the first image, complete or refused; other chunks are irrelevant."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images import opened, shown
from tests.fovea.images.files import drawn, saved, scene, tiff, webp, webp_chunks, xmp

KINDS = {"lossy": {"quality": 90}, "lossless": {"lossless": True}}


def layered() -> Image.Image:
    image = Image.fromarray(scene()).convert("RGBA")
    alpha = np.random.default_rng(1).integers(0, 256, (32, 48), np.uint8)
    image.putalpha(Image.fromarray(alpha))
    return image


def pillows(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_data_is_not_filled_in(kind: str, alpha: bool) -> None:
    """Even if the container's lengths match the truncated data."""
    noise = np.random.default_rng(2).integers(0, 256, (32, 48, 4), np.uint8)
    data = saved(noise if alpha else noise[..., :3].copy(), "WEBP", **KINDS[kind])
    opened(data).check_complete()
    *before, (name, body) = webp_chunks(data)
    for share in (0.02, 0.3, 0.6, 0.9, 0.97):
        rest = body[: int(share * len(body))]
        for cut in (webp([*before, (name, rest)]), data[: len(data) - len(body) + len(rest)]):
            with pytest.raises(ImageCorrupt):
                opened(cut).check_complete()


def test_truncated_alpha_is_not_filled_in() -> None:
    parts = [
        (name, part[:-20] if name == b"ALPH" else part)
        for name, part in webp_chunks(saved(layered(), "WEBP"))
    ]
    assert b"ALPH" in dict(parts)
    with pytest.raises(ImageCorrupt):
        opened(webp(parts)).check_complete()


@pytest.mark.parametrize("kind", KINDS)
def test_other_chunks_and_wrong_lengths_never_decide(kind: str) -> None:
    data = saved(
        Image.fromarray(scene()), "WEBP", exif=b"Exif\0\0" + tiff(1), icc_profile=b"junk" * 9, **KINDS[kind]
    )
    plain = pillows(saved(Image.fromarray(scene()), "WEBP", **KINDS[kind]))
    parts = webp_chunks(data)
    assert [name for name, _ in parts] == [b"VP8X", b"ICCP", parts[2][0], b"EXIF"]
    for changed in (
        [(name, b"junk" if name == b"EXIF" else part) for name, part in parts],
        [(name, b"" if name == b"ICCP" else part) for name, part in parts],
        [*parts[:2], (b"abcd", b"junk"), *parts[2:]],
        [*parts, (b"XMP ", b"\xff" * 99)],
        [part for part in parts if part[0] != b"ICCP"],
    ):
        assert np.array_equal(drawn(webp(changed)), plain)
    assert np.array_equal(drawn(data + b"junk"), plain)
    assert np.array_equal(drawn(data[:4] + b"\xff\xff\xff\x7f" + data[8:]), plain)


def test_the_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.fromarray(scene()), Image.new("RGB", (48, 32), "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(drawn(data), scene())
    assert np.array_equal(drawn(data[:-20]), scene())
    cut = webp(
        [(name, part[:-200] if at == 2 else part) for at, (name, part) in enumerate(webp_chunks(data))]
    )
    with pytest.raises(ImageCorrupt):
        opened(cut).check_complete()


def test_an_orientation_is_read_from_exif_and_xmp() -> None:
    parts = webp_chunks(saved(Image.fromarray(scene()), "WEBP", exif=b"Exif\0\0" + tiff(1)))[:-1]
    for added in ((b"EXIF", b"Exif\0\0" + tiff(6)), (b"EXIF", tiff(6)), (b"XMP ", xmp(6))):
        still = opened(webp([*parts, added]))
        assert still.orientation == 6
        assert shown(still).image.size == (32, 48)


def test_the_size_is_read_without_decoding() -> None:
    for options in KINDS.values():
        for image in (Image.fromarray(scene()), layered()):
            still = opened(saved(image, "WEBP", **options))
            assert (still.width, still.height) == (48, 32)
