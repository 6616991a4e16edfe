"""GIF: the first frame on its screen, complete or refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images import opened, shown
from tests.fovea.images.files import drawn, gif, saved, scene

BLACK, RED, GREEN, BLUE = b"\0\0\0", b"\xff\0\0", b"\0\xff\0", b"\0\0\xff"
SCREEN, FRAME = (64, 40), (16, 8, 32, 16)
CLEAR_1 = b"!\xf9\x04\x01\0\0\x01\0"


def filled(index: int, frame: tuple[int, int, int, int] = FRAME) -> list[int]:
    return [index] * (frame[2] * frame[3])


@pytest.mark.parametrize(
    ("palette", "options"),
    [
        (BLACK + RED + BLUE, {}),
        (GREEN + RED + BLUE, {}),
        (GREEN + RED + BLUE, {"background": 1}),
        (GREEN + RED + BLUE, {"background": 200}),
        (GREEN + RED + BLUE, {"control": CLEAR_1}),
        (BLACK + RED + BLUE, {"local": True}),
    ],
    ids=["black", "green", "background", "background outside", "a transparent colour", "local palette"],
)
def test_pixels_outside_of_a_small_frame_are_white(palette: bytes, options: dict) -> None:
    data = gif(SCREEN, FRAME, filled(2), palette=palette, **options)
    expected = np.full((40, 64, 3), 255, np.uint8)
    expected[8:24, 16:48] = (0, 0, 255)
    assert np.array_equal(drawn(data), expected)
    assert shown(opened(data)).had_alpha


def test_the_transparent_colour_of_the_first_frame_alone_counts() -> None:
    frame = (0, 0, 16, 8)
    indices = [1, 2] * 64
    clear = drawn(gif((16, 8), frame, indices, palette=BLACK + RED + BLUE, control=CLEAR_1))
    assert (clear[:, ::2] == 255).all()
    assert (clear[:, 1::2] == (0, 0, 255)).all()
    opaque = CLEAR_1[:3] + b"\0" + CLEAR_1[4:]
    assert (
        drawn(gif((16, 8), frame, indices, palette=BLACK + RED + BLUE, control=opaque))[:, ::2] == (255, 0, 0)
    ).all()


@pytest.mark.parametrize("screen", [(8, 8), (0, 0), (64, 8)])
def test_a_screen_grows_to_its_first_frame(screen: tuple[int, int]) -> None:
    data = gif(screen, (0, 0, 64, 40), filled(2, (0, 0, 64, 40)), palette=BLACK + RED + BLUE)
    assert drawn(data).shape == (40, 64, 3)


def test_a_frame_without_a_size_fills_the_screen() -> None:
    data = gif((16, 8), (0, 0, 0, 0), [1] * 128, palette=BLACK + RED)
    assert (drawn(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("count", [0, 1, 256, 511])
def test_pixels_that_are_missing_are_not_filled_in(count: int) -> None:
    """A valid end code that comes too early."""
    data = gif(SCREEN, FRAME, filled(2)[:count], palette=BLACK + RED + BLUE)
    with pytest.raises(ImageCorrupt):
        opened(data).check_complete()


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cut(interlace: int) -> None:
    noise = Image.effect_noise((60, 50), 90).quantize(32)
    data = saved(noise, "GIF", interlace=interlace)
    assert np.array_equal(drawn(data), np.asarray(noise.convert("RGB")))
    for cut in range(120, len(data) - 10, 97):
        for closed in (b"", b"\0;"):
            with pytest.raises(ImageCorrupt):
                opened(data[:cut] + closed).check_complete()


@pytest.mark.parametrize(
    "extension",
    [
        b"!\xfe" + b"\xff" + b"a" * 255 + b"\0",
        b"!\xff\x0bNETSCAPE2.0\x01\x09\0",
        b"!\xff\x03abc\0",
        b"!\x01\x02\xff\xff\0",
        b"!\xf9\x01\xff\0",
        b"!\x77\0",
    ],
    ids=["comment", "loop too short", "application", "plain text", "control too short", "unknown"],
)
def test_extensions_never_decide(extension: bytes) -> None:
    data = gif((16, 8), (0, 0, 16, 8), [1, 2] * 64, palette=BLACK + RED + BLUE, control=extension)
    assert np.array_equal(drawn(data)[0, :2], [(255, 0, 0), (0, 0, 255)])


def test_the_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("P", (20, 10), 0), Image.fromarray(scene(20, 10)).quantize(16)]
    frames[0].putpalette(RED + GREEN)
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=0, disposal=2)
    assert (drawn(data) == (255, 0, 0)).all()
    assert (drawn(data[:-30]) == (255, 0, 0)).all()


def test_a_file_without_its_trailer_is_shown() -> None:
    image = Image.fromarray(scene()).quantize(64)
    data = saved(image, "GIF")
    assert np.array_equal(drawn(data[:-2]), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_file_without_a_palette_is_grey() -> None:
    data = bytearray(gif((16, 8), (0, 0, 16, 8), [1, 2] * 64, palette=BLACK + RED + BLUE))
    data[10] = 0
    without = bytes(data[:13] + data[25:])
    assert np.array_equal(drawn(without)[0, :2], [(1, 1, 1), (2, 2, 2)])
