"""The record format on disk: a header with checks of itself and of every piece of the payload.

A header echoes the full key and the facts, and holds an XXH3 check of each piece and, last, of itself. So a
flipped bit, a piece of another record and another record under this key are all detected. XXH3 protects
against decay, not against an attacker with disk access; SHA-256 would cost eight times as much as the copy.
Handles bytes; independent of LMDB and of the meaning of facts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import xxhash

# 256 KiB less LMDB's page header: an overflow value then takes exactly 64 pages of 4 KiB, not 65.
PIECE_BYTES = 256 * 1024 - 16

_MAGIC = b"FVRC"
# Increment when an older version would misread a record: it then drops the record instead. Version 2 has
# facts of uploads that v0.1.0 does not know, and on which it fails.
_VERSION = 2
_FIXED = struct.Struct("<4sHHIIIQd")
_CHECK = struct.Struct("<Q")


class RecordInvalid(Exception):
    """A record that must not be served: damaged, or stored for other fields."""


@dataclass(frozen=True)
class Head:
    """The header of a record. `checks` has an XXH3-64 per piece."""

    key: bytes
    facts: bytes
    length: int
    created: float
    checks: tuple[int, ...]
    piece_bytes: int = PIECE_BYTES

    def pack(self) -> bytes:
        fixed = _FIXED.pack(
            _MAGIC,
            _VERSION,
            len(self.key),
            len(self.facts),
            self.piece_bytes,
            len(self.checks),
            self.length,
            self.created,
        )
        body = b"".join((fixed, self.key, self.facts, *map(_CHECK.pack, self.checks)))
        return body + _CHECK.pack(xxhash.xxh3_64_intdigest(body))

    @classmethod
    def unpack(cls, raw: bytes, key: bytes) -> Head:
        """The header in `raw`. RecordInvalid unless it is complete, of this version and of this key."""
        if len(raw) < _FIXED.size + _CHECK.size:
            raise RecordInvalid("header cut short")
        body, (check,) = raw[: -_CHECK.size], _CHECK.unpack(raw[-_CHECK.size :])
        if xxhash.xxh3_64_intdigest(body) != check:
            raise RecordInvalid("header check")
        magic, version, *lengths, length, created = _FIXED.unpack_from(body)
        if magic != _MAGIC or version != _VERSION:
            raise RecordInvalid("header version")
        head = cls._parse(body[_FIXED.size :], lengths, length, created)
        if head.key != key:
            raise RecordInvalid("key echo")
        return head

    @classmethod
    def _parse(cls, rest: bytes, lengths: list[int], length: int, created: float) -> Head:
        key_bytes, facts_bytes, piece_bytes, count = lengths
        facts_end = key_bytes + facts_bytes
        if piece_bytes == 0 or count != -(-length // piece_bytes):
            raise RecordInvalid("piece count")
        if len(rest) != facts_end + count * _CHECK.size:
            raise RecordInvalid("header length")
        checks = struct.unpack_from(f"<{count}Q", rest, facts_end)
        return cls(rest[:key_bytes], rest[key_bytes:facts_end], length, created, checks, piece_bytes)

    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each piece in the payload."""
        starts = range(0, self.length, self.piece_bytes)
        return [(start, min(start + self.piece_bytes, self.length)) for start in starts]

    def check(self, payload: memoryview) -> None:
        """Raises RecordInvalid unless these are the bytes of the payload."""
        if payload.nbytes != self.length:
            raise RecordInvalid("payload length")
        for (start, end), check in zip(self.spans(), self.checks, strict=True):
            if xxhash.xxh3_64_intdigest(payload[start:end]) != check:
                raise RecordInvalid("piece check")


@dataclass(frozen=True)
class Record:
    """A payload split into pieces, which are views of the caller's bytes; those must not change."""

    head: Head
    pieces: tuple[memoryview, ...]

    @classmethod
    def cut(cls, key: bytes, facts: bytes, data: bytes | memoryview, created: float) -> Record:
        payload = memoryview(data).cast("B")
        starts = range(0, len(payload), PIECE_BYTES)
        pieces = tuple(payload[start : start + PIECE_BYTES] for start in starts)
        checks = tuple(map(xxhash.xxh3_64_intdigest, pieces))
        return cls(Head(key, facts, len(payload), created, checks), pieces)
