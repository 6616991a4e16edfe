"""A message of a child is believed only as far as its caller allows."""

from __future__ import annotations

import io

import pytest

from fovea.nursery import frames
from fovea.nursery.frames import MAX_HEADER_BYTES, PREFIX, FrameInvalid


def test_a_message_is_read_as_it_was_packed() -> None:
    stream = io.BytesIO(frames.packed({"task": "open"}, 3) + b"abc" + frames.packed({}))
    assert frames.read(stream, 3) == ({"task": "open"}, b"abc")
    assert frames.read(stream) == ({}, b"")
    assert frames.read(stream) is None


def test_a_header_at_the_limit_is_read_and_a_longer_header_is_not() -> None:
    text = b'"%s"' % (b"x" * (MAX_HEADER_BYTES - 2))
    with pytest.raises(FrameInvalid, match="no object"):
        frames.read(io.BytesIO(PREFIX.pack(len(text), 0) + text))
    with pytest.raises(FrameInvalid, match=f"a header of {MAX_HEADER_BYTES + 1} bytes"):
        frames.read(io.BytesIO(PREFIX.pack(MAX_HEADER_BYTES + 1, 0)))


def test_more_raw_bytes_than_allowed_are_not_read() -> None:
    with pytest.raises(FrameInvalid, match="4 raw bytes"):
        frames.read(io.BytesIO(frames.packed({}, 4) + b"abcd"), 3)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[1]", b"1", b"[" * 50_000])
def test_a_header_that_is_no_object_is_no_message(text: bytes) -> None:
    with pytest.raises(FrameInvalid):
        frames.read(io.BytesIO(PREFIX.pack(len(text), 0) + text))


@pytest.mark.parametrize("length", range(1, len(frames.packed({}, 3)) + 3))
def test_a_message_that_is_cut_off_is_an_end(length: int) -> None:
    assert frames.read(io.BytesIO((frames.packed({}, 3) + b"abc")[:length])) is None
