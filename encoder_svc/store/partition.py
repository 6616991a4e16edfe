"""One bounded area of the environment: records, the order of their last use, and the bytes of each
tenant.

Everything here happens inside a transaction that the caller began, so a record, its place in the
order and the sums appear and vanish together: what is counted is true after any crash. Five
sub-databases: `heads` key -> header, `pieces` key+number -> bytes, `uses` key -> (last use, bytes,
pieces), `order` last use -> key, `sizes` tenant -> (records, bytes). A last use is a counter, not a
time. A sidecar is stored like a record, and its bytes are counted, but it is not counted as one. No
checks and no policy beyond "the least recently used goes first": those are the shelf's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import lmdb

from encoder_svc.store.core import Amount
from encoder_svc.store.keys import TENANT_BYTES, is_sidecar
from encoder_svc.store.records import Record

ReadTxn: TypeAlias = "lmdb.Transaction[memoryview]"
WriteTxn: TypeAlias = "lmdb.Transaction[bytes]"

_USE = struct.Struct(">QQI")
_SIZE = struct.Struct(">QQ")
_COUNTER = struct.Struct(">Q")
_NUMBER = struct.Struct(">I")
_PAGE_HEADER = 16
# The sum over all tenants; a tenant's id has 16 bytes, so this is none.
_ALL = b"all"


class Partition:
    """Sub-databases `name.*` of an environment, holding at most `bound_bytes` in whole pages."""

    def __init__(self, env: lmdb.Environment, txn: WriteTxn, name: str, bound_bytes: int) -> None:
        self.name = name
        self.bound_bytes = bound_bytes
        self._page = env.stat()["psize"]
        self._heads = env.open_db(f"{name}.heads".encode(), txn=txn)
        self._pieces = env.open_db(f"{name}.pieces".encode(), txn=txn)
        self._uses = env.open_db(f"{name}.uses".encode(), txn=txn)
        self._order = env.open_db(f"{name}.order".encode(), txn=txn)
        self._sizes = env.open_db(f"{name}.sizes".encode(), txn=txn)

    def head(self, txn: ReadTxn | WriteTxn, key: bytes) -> bytes | None:
        raw = txn.get(key, db=self._heads)
        return None if raw is None else bytes(raw)

    def piece(self, txn: ReadTxn, key: bytes, number: int) -> memoryview | None:
        """A view of LMDB's map: it shows other bytes once the transaction is over."""
        return txn.get(key + _NUMBER.pack(number), db=self._pieces)

    def charge(self, record: Record) -> int:
        """Bytes a record takes: each piece in whole pages, and a page for header and index."""
        pages = sum(-(-(len(piece) + _PAGE_HEADER) // self._page) for piece in record.pieces)
        return (pages + 1) * self._page

    def insert(self, txn: WriteTxn, record: Record) -> None:
        """Store the record as the most recently used one. There must be none under its key."""
        key, counter, charge = record.head.key, self._next_use(txn), self.charge(record)
        txn.put(key, record.head.pack(), db=self._heads)
        for number, piece in enumerate(record.pieces):
            txn.put(key + _NUMBER.pack(number), piece, db=self._pieces)
        txn.put(key, _USE.pack(counter, charge, len(record.pieces)), db=self._uses)
        txn.put(_COUNTER.pack(counter), key, db=self._order)
        self._resize(txn, key, Amount(_records(key), charge))

    def remove(self, txn: WriteTxn, key: bytes) -> Amount:
        use = txn.get(key, db=self._uses)
        if use is None:
            return Amount()
        counter, charge, pieces = _USE.unpack(use)
        txn.delete(key, db=self._heads)
        for number in range(pieces):
            txn.delete(key + _NUMBER.pack(number), db=self._pieces)
        txn.delete(key, db=self._uses)
        txn.delete(_COUNTER.pack(counter), db=self._order)
        self._resize(txn, key, Amount(-_records(key), -charge))
        return Amount(_records(key), charge)

    def touch(self, txn: WriteTxn, keys: Iterable[bytes]) -> None:
        """Make `keys` the most recently used, the last of them most; keys that are gone are skipped."""
        counter = self._next_use(txn)
        for key in keys:
            use = txn.get(key, db=self._uses)
            if use is None:
                continue
            before, charge, pieces = _USE.unpack(use)
            txn.delete(_COUNTER.pack(before), db=self._order)
            txn.put(_COUNTER.pack(counter), key, db=self._order)
            txn.put(key, _USE.pack(counter, charge, pieces), db=self._uses)
            counter += 1

    def evict(self, txn: WriteTxn, down_to: int, at_most: int | None = None) -> list[bytes]:
        """Remove the least recently used until at most `down_to` bytes are left; the keys that went."""
        gone: list[bytes] = []
        while self.size(txn).bytes > down_to and len(gone) != at_most:
            oldest = self._oldest(txn)
            if oldest is None:
                break
            self.remove(txn, oldest)
            gone.append(oldest)
        return gone

    def keys(self, txn: ReadTxn | WriteTxn, prefix: bytes) -> Iterator[bytes]:
        cursor = txn.cursor(db=self._uses)
        found = cursor.set_range(prefix)
        while found and bytes(cursor.key()).startswith(prefix):
            yield bytes(cursor.key())
            found = cursor.next()

    def size(self, txn: ReadTxn | WriteTxn, tenant: bytes = _ALL) -> Amount:
        """Records and bytes of a tenant, or of all."""
        raw = txn.get(tenant, db=self._sizes)
        return Amount() if raw is None else Amount(*_SIZE.unpack(raw))

    def sizes(self, txn: ReadTxn) -> dict[bytes, Amount]:
        """Records and bytes by tenant."""
        sums = txn.cursor(db=self._sizes)
        return {bytes(who): Amount(*_SIZE.unpack(raw)) for who, raw in sums if bytes(who) != _ALL}

    def _resize(self, txn: WriteTxn, key: bytes, change: Amount) -> None:
        for owner in (_ALL, key[:TENANT_BYTES]):
            size = self.size(txn, owner) + change
            if size.bytes:
                txn.put(owner, _SIZE.pack(size.records, size.bytes), db=self._sizes)
            else:
                txn.delete(owner, db=self._sizes)

    def _next_use(self, txn: WriteTxn) -> int:
        cursor = txn.cursor(db=self._order)
        return int(_COUNTER.unpack(cursor.key())[0]) + 1 if cursor.last() else 0

    def _oldest(self, txn: WriteTxn) -> bytes | None:
        cursor = txn.cursor(db=self._order)
        return bytes(cursor.value()) if cursor.first() else None


def _records(key: bytes) -> int:
    """As how many records this key counts."""
    return 0 if is_sidecar(key) else 1
