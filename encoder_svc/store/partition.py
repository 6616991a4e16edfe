"""One bounded area of the environment: records, the order of their last use, and the bytes of each
tenant.

Everything here happens inside a transaction that the caller began, so a record, its place in the
order and the sums appear and vanish together: what is counted is true after any crash. `tables` has
the five sub-databases. A last use is a counter, not a time. A sidecar is stored like a record, and its
bytes are counted, but it is not counted as one. No checks and no policy beyond "the least recently
used goes first": those are the shelf's. Tables that contradict each other raise Unsound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lmdb

from encoder_svc.store.core import Amount
from encoder_svc.store.errors import Unsound
from encoder_svc.store.keys import TENANT_BYTES, is_sidecar
from encoder_svc.store.records import Record
from encoder_svc.store.tables import (
    COUNTER,
    NUMBER,
    PAGE_HEADER,
    ReadTxn,
    Tables,
    Use,
    WriteTxn,
    pack_size,
    unpack_counter,
    unpack_size,
)

# The sum over all tenants; a tenant's id has 16 bytes, so this is none.
_ALL = b"all"


class Partition:
    """Sub-databases `name.*` of an environment, holding at most `bound_bytes` in whole pages."""

    def __init__(self, env: lmdb.Environment, txn: WriteTxn, name: str, bound_bytes: int) -> None:
        self.name = name
        self.bound_bytes = bound_bytes
        self.tables = Tables.open(env, txn, name)
        self._page = env.stat()["psize"]

    def head(self, txn: ReadTxn | WriteTxn, key: bytes) -> bytes | None:
        raw = txn.get(key, db=self.tables.heads)
        return None if raw is None else bytes(raw)

    def piece(self, txn: ReadTxn, key: bytes, number: int) -> memoryview | None:
        """A view of LMDB's map: it shows other bytes once the transaction is over."""
        return txn.get(key + NUMBER.pack(number), db=self.tables.pieces)

    def charge(self, record: Record) -> int:
        """Bytes a record takes: each piece in whole pages, and a page for header and index."""
        pages = sum(-(-(len(piece) + PAGE_HEADER) // self._page) for piece in record.pieces)
        return (pages + 1) * self._page

    def insert(self, txn: WriteTxn, record: Record) -> None:
        """Store the record as the most recently used one. There must be none under its key."""
        key, use = record.head.key, Use(self._next_use(txn), self.charge(record), len(record.pieces))
        txn.put(key, record.head.pack(), db=self.tables.heads)
        for number, piece in enumerate(record.pieces):
            txn.put(key + NUMBER.pack(number), piece, db=self.tables.pieces)
        txn.put(key, use.pack(), db=self.tables.uses)
        txn.put(COUNTER.pack(use.counter), key, db=self.tables.order)
        self._resize(txn, key, Amount(self.counted_as(key), use.charge))

    def remove(self, txn: WriteTxn, key: bytes) -> Amount:
        use = self._use(txn, key)
        if use is None:
            return Amount()
        txn.delete(key, db=self.tables.heads)
        for number in range(use.pieces):
            txn.delete(key + NUMBER.pack(number), db=self.tables.pieces)
        txn.delete(key, db=self.tables.uses)
        txn.delete(COUNTER.pack(use.counter), db=self.tables.order)
        removed = Amount(self.counted_as(key), use.charge)
        self._resize(txn, key, Amount(-removed.records, -removed.bytes))
        return removed

    def touch(self, txn: WriteTxn, keys: Iterable[bytes]) -> None:
        """Make `keys` the most recently used, the last of them most; keys that are gone are skipped."""
        counter = self._next_use(txn)
        for key in keys:
            use = self._use(txn, key)
            if use is None:
                continue
            txn.delete(COUNTER.pack(use.counter), db=self.tables.order)
            txn.put(COUNTER.pack(counter), key, db=self.tables.order)
            txn.put(key, Use(counter, use.charge, use.pieces).pack(), db=self.tables.uses)
            counter += 1

    def evict(self, txn: WriteTxn, down_to: int, at_most: int | None = None) -> list[bytes]:
        """Remove the least recently used until at most `down_to` bytes are left; the keys that went."""
        gone: list[bytes] = []
        while self.size(txn).bytes > down_to and len(gone) != at_most:
            oldest = self._oldest(txn)
            if oldest is None:
                break
            if not self.remove(txn, oldest).bytes:
                raise Unsound(f"{self.name}: the order names a record that is not there")
            gone.append(oldest)
        return gone

    def keys(self, txn: ReadTxn | WriteTxn, prefix: bytes) -> Iterator[bytes]:
        cursor = txn.cursor(db=self.tables.uses)
        found = cursor.set_range(prefix)
        while found and bytes(cursor.key()).startswith(prefix):
            yield bytes(cursor.key())
            found = cursor.next()

    def uses(self, txn: ReadTxn) -> Iterator[tuple[bytes, Use]]:
        """Every record by key."""
        for key, raw in txn.cursor(db=self.tables.uses):
            yield bytes(key), Use.unpack(raw, self._page)

    def has_whole_record(self, txn: ReadTxn, key: bytes, use: Use) -> bool:
        """Whether lookups find this record in every table, with as many pieces as it has."""
        ordered = txn.get(COUNTER.pack(use.counter), db=self.tables.order)
        # A cursor, because a get reads all of a value from the disk.
        pieces = txn.cursor(db=self.tables.pieces)
        return (
            self._use(txn, key) == use
            and ordered is not None
            and bytes(ordered) == key
            and txn.get(key, db=self.tables.heads) is not None
            and all(pieces.set_key(key + NUMBER.pack(number)) for number in range(use.pieces))
        )

    def size(self, txn: ReadTxn | WriteTxn, tenant: bytes = _ALL) -> Amount:
        """Records and bytes of a tenant, or of all."""
        raw = txn.get(tenant, db=self.tables.sizes)
        return Amount() if raw is None else unpack_size(raw)

    def sizes(self, txn: ReadTxn) -> dict[bytes, Amount]:
        """Records and bytes by tenant."""
        sums = txn.cursor(db=self.tables.sizes)
        return {bytes(who): unpack_size(raw) for who, raw in sums if bytes(who) != _ALL}

    @staticmethod
    def owners(key: bytes) -> tuple[bytes, bytes]:
        """The entries of `sizes` that count this key."""
        return _ALL, key[:TENANT_BYTES]

    @staticmethod
    def counted_as(key: bytes) -> int:
        """As how many records this key counts."""
        return 0 if is_sidecar(key) else 1

    def _use(self, txn: ReadTxn | WriteTxn, key: bytes) -> Use | None:
        raw = txn.get(key, db=self.tables.uses)
        return None if raw is None else Use.unpack(raw, self._page)

    def _resize(self, txn: WriteTxn, key: bytes, change: Amount) -> None:
        for owner in self.owners(key):
            size = self.size(txn, owner) + change
            if size.bytes:
                txn.put(owner, pack_size(size), db=self.tables.sizes)
            else:
                txn.delete(owner, db=self.tables.sizes)

    def _next_use(self, txn: WriteTxn) -> int:
        cursor = txn.cursor(db=self.tables.order)
        return unpack_counter(cursor.key()) + 1 if cursor.last() else 0

    def _oldest(self, txn: WriteTxn) -> bytes | None:
        cursor = txn.cursor(db=self.tables.order)
        return bytes(cursor.value()) if cursor.first() else None
