"""Encodes and decodes a chunk of rows as a message of an Encode stream, without protobuf's copies.

The bytes are those of `EncodeResponse{chunk: RowChunk{...}}`. Protobuf copies a 1 MiB message four or five
times per side. This codec copies it once when writing and never when reading: `data` is then a view of the
message. `read` returns None for every other message, and callers decode those with protobuf. The field
numbers are written out here; a test compares the codec with protobuf's own encoder and decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

_CHUNK = 2 << 3 | 2  # EncodeResponse.chunk
_FIRST_ROW = 1 << 3 | 0  # the fields of RowChunk: number and wire type
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


class _NotAChunk(Exception):
    """The message is not a plainly encoded chunk, so protobuf must decode it."""


def write(frame: ChunkFrame) -> bytes:
    """The message, byte for byte as protobuf writes it: fields in order, zero fields omitted."""
    length = len(frame.data)
    before = _field(_FIRST_ROW, frame.first_row) + _field(_ROWS, frame.rows) + _field(_DATA, length)
    after = bytes([_XXH3]) + frame.xxh3.to_bytes(8, "little") if frame.xxh3 else b""
    start = bytes([_CHUNK]) + _varint(len(before) + length + len(after))
    return b"".join((start, before, frame.data, after))


def read(message: bytes) -> ChunkFrame | None:
    """The chunk of a message, or None for anything else, including unusual encodings of a chunk."""
    try:
        return _read(message)
    except (_NotAChunk, IndexError):
        return None


def _read(message: bytes) -> ChunkFrame:
    size, at = _length(message, 0, _CHUNK)
    if at + size != len(message):
        raise _NotAChunk
    first_row, at = _number(message, at, _FIRST_ROW)
    rows, at = _number(message, at, _ROWS)
    length, at = _length(message, at, _DATA)
    if at + length > len(message):
        raise _NotAChunk
    data, at = memoryview(message)[at : at + length], at + length
    return ChunkFrame(first_row, rows, data, _fixed64(message, at))


def _length(message: bytes, at: int, tag: int) -> tuple[int, int]:
    if message[at] != tag:
        raise _NotAChunk
    return _read_varint(message, at + 1)


def _number(message: bytes, at: int, tag: int) -> tuple[int, int]:
    """A number (0 if the field is absent), and the offset of the next field."""
    return _read_varint(message, at + 1) if message[at] == tag else (0, at)


def _fixed64(message: bytes, at: int) -> int:
    """The checksum: the last field, which must end the message."""
    if len(message) - at != 9 or message[at] != _XXH3:
        raise _NotAChunk
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
    """A number of at most 32 bits in at most 5 bytes, and the offset behind it."""
    value = 0
    for index in range(5):
        byte = message[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value > _MAX_UINT32:
                break
            return value, at + index + 1
    raise _NotAChunk
