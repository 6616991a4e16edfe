"""The hand-written codec of chunks agrees with protobuf on any input."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fovea.contract import frames
from fovea.contract.frames import ChunkFrame
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import rows_pb2

NUMBERS = st.one_of(st.sampled_from([0, 1, 127, 128, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
CHECKS = st.one_of(st.just(0), st.integers(0, 2**64 - 1))
FRAMES = st.builds(ChunkFrame, NUMBERS, NUMBERS, st.binary(max_size=300), CHECKS)


def response(frame: ChunkFrame) -> encoder_pb2.EncodeResponse:
    chunk = rows_pb2.RowChunk(
        first_row=frame.first_row, rows=frame.rows, data=bytes(frame.data), xxh3=frame.xxh3
    )
    return encoder_pb2.EncodeResponse(chunk=chunk)


def plain(frame: ChunkFrame) -> tuple[int, int, bytes, int]:
    return frame.first_row, frame.rows, bytes(frame.data), frame.xxh3


def agrees(message: bytes) -> bool:
    """Whether the codec and protobuf decode a message to the same fields."""
    frame = frames.read(message)
    return frame is None or encoder_pb2.EncodeResponse.FromString(message) == response(frame)


@given(FRAMES)
def test_the_codec_writes_what_protobuf_writes(frame: ChunkFrame) -> None:
    assert frames.write(frame) == response(frame).SerializeToString()


@given(FRAMES)
def test_a_plain_chunk_is_decoded_without_protobuf(frame: ChunkFrame) -> None:
    decoded = frames.read(response(frame).SerializeToString())
    if frame.data and frame.xxh3:
        assert decoded is not None
        assert plain(decoded) == plain(frame)
    else:
        assert decoded is None


def test_data_is_a_view_of_the_message_and_as_large_as_a_message_may_be() -> None:
    message = frames.write(ChunkFrame(64, 64, b"x" * 2**20, 7))
    decoded = frames.read(message)
    assert decoded is not None
    assert isinstance(decoded.data, memoryview)
    assert decoded.data.obj is message


@given(FRAMES, st.data())
def test_a_damaged_message_is_decoded_like_protobuf_or_left_to_it(
    frame: ChunkFrame, data: st.DataObject
) -> None:
    message = bytearray(frames.write(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(message) - 1, 24)))
        message[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    assert agrees(bytes(message[: len(message) - cut]))


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_decoded_like_protobuf_or_left_to_it(message: bytes) -> None:
    assert agrees(b"\x12" + message)


@given(FRAMES, FRAMES)
def test_a_message_with_repeated_fields_is_left_to_protobuf(first: ChunkFrame, second: ChunkFrame) -> None:
    assert agrees(frames.write(first) + frames.write(second))


def test_headers_and_summaries_are_left_to_protobuf() -> None:
    for other in (
        encoder_pb2.EncodeResponse(header=encoder_pb2.EncodeHeader(rows=1)),
        encoder_pb2.EncodeResponse(summary=encoder_pb2.EncodeSummary(rows=1)),
        encoder_pb2.EncodeResponse(),
    ):
        assert frames.read(other.SerializeToString()) is None
