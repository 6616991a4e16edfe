"""The five sub-databases of a partition, and their values that have no check of their own.

`heads` key -> header, `pieces` key+number -> bytes, `uses` key -> (last use, bytes, pieces), `order` last use
-> key, `sizes` tenant -> (records, bytes). An impossible value raises Unsound, rather than sending its reader
into a loop over four billion pieces.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import lmdb

from encoder_svc.store.amounts import Amount
from encoder_svc.store.errors import Unsound

ReadTxn: TypeAlias = "lmdb.Transaction[memoryview]"
WriteTxn: TypeAlias = "lmdb.Transaction[bytes]"

COUNTER = struct.Struct(">Q")
NUMBER = struct.Struct(">I")
PAGE_HEADER = 16
_USE = struct.Struct(">QQI")
_SIZE = struct.Struct(">QQ")
# A counter grows by 1 per use, so only damage can reach this.
_MAX_COUNTER = 2**63


@dataclass(frozen=True)
class Tables:
    """Handles of the sub-databases `name.*`."""

    heads: Any
    pieces: Any
    uses: Any
    order: Any
    sizes: Any

    @classmethod
    def open(cls, env: lmdb.Environment, txn: ReadTxn | WriteTxn, name: str, create: bool) -> Tables:
        """NotFoundError if a table is missing and not to be created."""
        names = (f"{name}.{field.name}".encode() for field in fields(cls))
        return cls(*(env.open_db(each, txn=txn, create=create) for each in names))

    def counts(self, txn: ReadTxn) -> dict[str, int]:
        """Entries by table."""
        return {field.name: txn.stat(getattr(self, field.name))["entries"] for field in fields(self)}

    def check_flags(self, txn: ReadTxn) -> None:
        """Raises Unsound if a table has a flag: ours have none, and each flag changes what a put means."""
        for field in fields(self):
            if any(getattr(self, field.name).flags(txn).values()):
                raise Unsound(f"{field.name}: flags that were never set")


@dataclass(frozen=True)
class Use:
    """A value of `uses`: the record's position in the order, its bytes in whole pages, its pieces."""

    counter: int
    charge: int
    pieces: int

    def pack(self) -> bytes:
        return _USE.pack(self.counter, self.charge, self.pieces)

    @classmethod
    def unpack(cls, raw: bytes | memoryview, page_bytes: int) -> Use:
        if len(raw) != _USE.size:
            raise Unsound("a use of another length")
        use = cls(*_USE.unpack(raw))
        if use.counter >= _MAX_COUNTER or (use.pieces + 1) * page_bytes > use.charge:
            raise Unsound("a use that no record has")
        return use


def pack_size(size: Amount) -> bytes:
    if size.records < 0 or size.bytes < 0:
        raise Unsound("more was removed than there was")
    return _SIZE.pack(size.records, size.bytes)


def unpack_size(raw: bytes | memoryview) -> Amount:
    if len(raw) != _SIZE.size:
        raise Unsound("a sum of another length")
    return Amount(*_SIZE.unpack(raw))


def unpack_counter(raw: bytes | memoryview) -> int:
    if len(raw) != COUNTER.size:
        raise Unsound("a counter of another length")
    counter = int(COUNTER.unpack(raw)[0])
    if counter >= _MAX_COUNTER:
        raise Unsound("a counter that no use has reached")
    return counter
