"""The form of a record on disk: a header that vouches for itself and for every piece of the
payload.

A header echoes the full key and the facts and holds an XXH3 check of each piece and, last, one of
itself, so a flipped bit, a piece of another record or another record under this key is noticed.
XXH3 because SHA-256 would cost eight times the copy; it guards against decay, not against an
attacker with the disk. This module knows bytes; it does not know LMDB or what the facts say.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import xxhash

# 256 KiB less LMDB's page header: an overflow value then takes exactly 64 pages of 4 KiB, not 65.
PIECE_BYTES = 256 * 1024 - 16

_MAGIC = b"FVRC"
_VERSION = 1
_FIXED = struct.Struct("<4sHHIIIQd")
_CHECK = struct.Struct("<Q")


class RecordInvalid(Exception):
    """A record that must not be served: damaged, or not the one that was asked for."""


@dataclass(frozen=True)
class Head:
    """What a record says about itself. `checks` has one XXH3-64 for each piece."""

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
        """The header in `raw`. RecordInvalid unless it is whole, of this version and of this key."""
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
        """Where each piece begins and ends in the payload."""
        starts = range(0, self.length, self.piece_bytes)
        return [(start, min(start + self.piece_bytes, self.length)) for start in starts]


@dataclass(frozen=True)
class Record:
    """A payload cut for storing. `pieces` are views of the caller's bytes, which must not change."""

    head: Head
    pieces: tuple[memoryview, ...]

    @classmethod
    def cut(cls, key: bytes, facts: bytes, data: bytes | memoryview, created: float) -> Record:
        payload = memoryview(data).cast("B")
        starts = range(0, len(payload), PIECE_BYTES)
        pieces = tuple(payload[start : start + PIECE_BYTES] for start in starts)
        checks = tuple(map(xxhash.xxh3_64_intdigest, pieces))
        return cls(Head(key, facts, len(payload), created, checks), pieces)
