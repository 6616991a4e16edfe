"""Files of empty parts: reading stops after a bounded number of them."""

from __future__ import annotations

import struct
import zlib

import pytest

from fovea.contract.errors import ImageCorrupt
from fovea.images import jpeg, opened, png, webp
from tests.e2e.pictures import picture

SOME, MOST = 1000, 100_000


def _png(count: int) -> bytes:
    data, empty = picture(64, 64, seed=1), struct.pack(">I4sI", 0, b"teXt", zlib.crc32(b"teXt"))
    return data[:33] + empty * count + data[33:]


def _jpeg(count: int) -> bytes:
    data = picture(64, 64, seed=1, format="JPEG")
    return data[:2] + b"\xff\xfe\x00\x02" * count + data[2:]


def _webp(count: int) -> bytes:
    body = picture(64, 64, seed=1, format="WEBP")[8:] + b"junk\0\0\0\0" * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("make", "most"),
    [(_png, png.MOST_CHUNKS), (_jpeg, jpeg.MOST_SEGMENTS), (_webp, webp.MOST_CHUNKS)],
)
def test_a_file_of_empty_chunks_is_refused_after_a_bounded_number(make, most) -> None:
    opened(make(SOME)).check_complete()
    assert most <= MOST
    with pytest.raises(ImageCorrupt):
        opened(make(most))
