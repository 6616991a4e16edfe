"""Mutated files are decoded or refused with a typed error, within bounds of time and memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fovea.contract.errors import ImageInvalid
from fovea.images import opened, shown
from tests.fovea.images.files import chunk, png, saved, scene, segment, tiff, with_chunk, with_segment, xmp

ALPHA = np.dstack([scene(), scene()[..., :1]])
FILES = {
    "png": with_chunk(
        saved(ALPHA), chunk(b"eXIf", tiff(6)) + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(3))
    ),
    "png with a palette": saved(Image.fromarray(scene()).quantize(16), transparency=0),
    "png of 16 bits": png(
        scene().astype(np.uint16) * 250, 16, 2, extra=chunk(b"tRNS", bytes(6)), interlaced=True
    ),
    "jpeg": with_segment(saved(scene(), "JPEG"), segment(0xE1, b"Exif\0\0" + tiff(6))),
    "progressive jpeg": saved(scene(), "JPEG", progressive=True, restart_marker_rows=1),
    "webp": saved(Image.fromarray(ALPHA), "WEBP", exif=b"Exif\0\0" + tiff(6)),
    "lossless webp": saved(Image.fromarray(ALPHA), "WEBP", lossless=True),
    "gif": saved(Image.fromarray(scene()).quantize(16), "GIF", transparency=3, comment=b"hello"),
}
LIMIT = 1_000_000


def changes(length: int) -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    """(offset, length) of the replaced bytes, and the replacement."""
    piece = st.tuples(st.integers(0, length), st.sampled_from([0, 1, 1, 1, 4, 40]), st.binary(max_size=6))
    return st.lists(piece, min_size=1, max_size=4)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_mutated_file_is_decoded_or_refused(name: str, data: st.DataObject) -> None:
    file = FILES[name]
    for at, count, new in data.draw(changes(len(file))):
        file = file[:at] + new + file[at + count :]
    try:
        still = opened(file, most_pixels=LIMIT)
        still.check_complete()
        seen = shown(still)
    except ImageInvalid:
        return
    sideways = still.orientation > 4
    assert seen.image.size == ((still.height, still.width) if sideways else (still.width, still.height))
