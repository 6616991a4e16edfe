"""A chunk of rows as one message of an Encode stream, written and read without protobuf's copies.

The bytes are those of `EncodeResponse{chunk: RowChunk{...}}`. A message of 1 MiB goes through protobuf in
four or five copies a side; here it is one on the way out and none on the way in, where `data` is a view of
the message. What is not plainly such a message, `read` leaves to protobuf. Knows the numbers of the fields
and nothing of what they mean; a test holds it to protobuf's own reading and writing.
"""

from __future__ import annotations

from dataclasses import dataclass

_CHUNK = 2 << 3 | 2  # EncodeResponse.chunk
_FIRST_ROW = 1 << 3 | 0  # and the fields of RowChunk, each number with its wire type
_ROWS = 2 << 3 | 0
_DATA = 3 << 3 | 2
_XXH3 = 4 << 3 | 1
_MAX_UINT32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class ChunkFrame:
    """The fields of a RowChunk."""

    first_row: int
    rows: int
    data: bytes | memoryview
    xxh3: int


class _Strange(Exception):
    """Not plainly a chunk: protobuf shall judge."""


def write(frame: ChunkFrame) -> bytes:
    """The message, byte for byte as protobuf writes it: fields in order, those that are zero left out."""
    length = len(frame.data)
    before = _field(_FIRST_ROW, frame.first_row) + _field(_ROWS, frame.rows) + _field(_DATA, length)
    after = bytes([_XXH3]) + frame.xxh3.to_bytes(8, "little") if frame.xxh3 else b""
    start = bytes([_CHUNK]) + _varint(len(before) + length + len(after))
    return b"".join((start, before, frame.data, after))


def read(message: bytes) -> ChunkFrame | None:
    """The chunk in a message; None for every other one, also where protobuf might find a chunk in it."""
    try:
        return _read(message)
    except (_Strange, IndexError):
        return None


def _read(message: bytes) -> ChunkFrame:
    size, at = _length(message, 0, _CHUNK)
    if at + size != len(message):
        raise _Strange
    first_row, at = _number(message, at, _FIRST_ROW)
    rows, at = _number(message, at, _ROWS)
    length, at = _length(message, at, _DATA)
    if at + length > len(message):
        raise _Strange
    data, at = memoryview(message)[at : at + length], at + length
    return ChunkFrame(first_row, rows, data, _fixed64(message, at))


def _length(message: bytes, at: int, tag: int) -> tuple[int, int]:
    if message[at] != tag:
        raise _Strange
    return _read_varint(message, at + 1)


def _number(message: bytes, at: int, tag: int) -> tuple[int, int]:
    """A number that may be left out, which makes it 0, and where the next field begins."""
    return _read_varint(message, at + 1) if message[at] == tag else (0, at)


def _fixed64(message: bytes, at: int) -> int:
    """The last field, to the very end of the message."""
    if len(message) - at != 9 or message[at] != _XXH3:
        raise _Strange
    return int.from_bytes(message[at + 1 :], "little")


def _field(tag: int, value: int) -> bytes:
    return bytes([tag]) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of at most 32 bits in at most 5 bytes, and where it ends."""
    value = 0
    for place in range(5):
        byte = message[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if value > _MAX_UINT32:
                break
            return value, at + place + 1
    raise _Strange
