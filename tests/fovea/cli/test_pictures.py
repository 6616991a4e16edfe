"""Image files that the command decodes: as the encoder does, in a child that a crafted file may end."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from fovea.cli import pictures
from fovea.client.isolated import FileTooCostly
from fovea.contract.errors import ImageCorrupt
from fovea.images import opened, shown
from fovea.nursery.alone import run_alone
from tests.fovea.images.files import chunk, saved, scene, tiff, with_chunk

SIDEWAYS = with_chunk(saved(scene()), chunk(b"eXIf", tiff(6)))


@pytest.mark.parametrize("data", [saved(scene()), saved(scene(), "JPEG"), SIDEWAYS])
def test_an_image_is_as_the_encoder_shows_it(data: bytes) -> None:
    expected = np.asarray(shown(opened(data)).image.convert("RGB"))
    assert np.array_equal(np.asarray(pictures.as_shown(data, "a.png")), expected)


def test_a_damaged_image_is_named() -> None:
    data = saved(scene())
    with pytest.raises(ImageCorrupt, match=r"a\.png"):
        pictures.as_shown(data[: len(data) // 2], "a.png")


def test_an_image_that_crashes_its_reader_is_one_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "READER", "tests.fovea.cli.test_pictures")
    with pytest.raises(FileTooCostly, match=r"a\.png"):
        pictures.as_shown(saved(scene()), "a.png")


if __name__ == "__main__":  # the reader of the last test
    run_alone(lambda caller, limits: os.kill(os.getpid(), 11), *sys.argv[1:])
