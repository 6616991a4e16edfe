"""A bounded partition of the environment: records, their order of last use, and the bytes of each tenant.

Everything runs inside the caller's transaction, so a record, its position in the order and the sums change
together: the sums are true after any crash. `tables` has the five sub-databases. A last use is a counter, not
a time. A sidecar is stored like a record and its bytes count, but it does not count as a record. Eviction is
least recently used first; checks and other policy belong to `record_store`. Contradicting tables raise
Unsound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lmdb

from encoder_svc.store.amounts import Amount, Bounds
from encoder_svc.store.errors import Unsound
from encoder_svc.store.keys import TENANT_BYTES, is_sidecar, pool_id
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

# The sum over all tenants. Tenant ids have 16 bytes, so this cannot be an id.
_ALL = b"all"
# A tenant at its bound evicts a little more than it needs: to find its oldest records takes a look at all.
_TENANT_SPARE = 16


class Partition:
    """Sub-databases `name.*` of an environment, holding at most `bounds` in whole pages.

    `removals` counts removed records, whose bytes may still be in the file.
    """

    def __init__(
        self,
        env: lmdb.Environment,
        txn: ReadTxn | WriteTxn,
        name: str,
        bounds: Bounds,
        create: bool = True,
    ) -> None:
        self.name = name
        self.bounds = bounds
        self.removals = 0
        self._unused = 0
        self.tables = Tables.open(env, txn, name, create)
        self._page = env.stat()["psize"]

    def head(self, txn: ReadTxn | WriteTxn, key: bytes) -> bytes | None:
        raw = txn.get(key, db=self.tables.heads)
        return None if raw is None else bytes(raw)

    def piece(self, txn: ReadTxn, key: bytes, number: int) -> memoryview | None:
        """A view of LMDB's map; invalid once the transaction ends."""
        return txn.get(key + NUMBER.pack(number), db=self.tables.pieces)

    def charge(self, record: Record) -> int:
        """Bytes on disk of a record: each piece in whole pages, and a page for header and index."""
        pages = sum(-(-(len(piece) + PAGE_HEADER) // self._page) for piece in record.pieces)
        return (pages + 1) * self._page

    def bound(self, key: bytes) -> int:
        """The most bytes that a record of this key may take. Rows that tenants share are nobody's."""
        return self.bounds.all_bytes if key.startswith(pool_id()) else self.bounds.tenant_bytes

    def insert(self, txn: WriteTxn, record: Record) -> None:
        """Store the record as the most recently used. Its key must not exist."""
        use = Use(self._next_use(txn), self.charge(record), len(record.pieces))
        self._unused = use.counter + 1
        self._put(txn, record.head.key, use, record.head.pack(), record.pieces)

    def adopt(self, txn: WriteTxn, other: Partition, other_txn: ReadTxn, key: bytes) -> None:
        """Store a whole record of another partition, as recently used as there. Its key must not exist."""
        use, head = other._use(other_txn, key), other.head(other_txn, key)
        if use is None or head is None:
            return
        pieces = (other.piece(other_txn, key, number) for number in range(use.pieces))
        self._put(txn, key, use, head, (piece for piece in pieces if piece is not None))

    def _put(
        self, txn: WriteTxn, key: bytes, use: Use, head: bytes, pieces: Iterable[bytes | memoryview]
    ) -> None:
        txn.put(key, head, db=self.tables.heads)
        for number, piece in enumerate(pieces):
            txn.put(key + NUMBER.pack(number), piece, db=self.tables.pieces)
        txn.put(key, use.pack(), db=self.tables.uses)
        txn.put(COUNTER.pack(use.counter), key, db=self.tables.order)
        self._resize(txn, key, Amount(self.counted_as(key), use.charge))

    def remove(self, txn: WriteTxn, key: bytes) -> Amount:
        use = self._use(txn, key)
        if use is None:
            return Amount()
        self.removals += 1
        txn.delete(key, db=self.tables.heads)
        for number in range(use.pieces):
            txn.delete(key + NUMBER.pack(number), db=self.tables.pieces)
        txn.delete(key, db=self.tables.uses)
        txn.delete(COUNTER.pack(use.counter), db=self.tables.order)
        removed = Amount(self.counted_as(key), use.charge)
        self._resize(txn, key, Amount(-removed.records, -removed.bytes))
        return removed

    def touch(self, txn: WriteTxn, keys: Iterable[bytes]) -> None:
        """Make `keys` the most recently used, in this order; missing keys are skipped."""
        counter = self._next_use(txn)
        for key in keys:
            use = self._use(txn, key)
            if use is None:
                continue
            txn.delete(COUNTER.pack(use.counter), db=self.tables.order)
            txn.put(COUNTER.pack(counter), key, db=self.tables.order)
            txn.put(key, Use(counter, use.charge, use.pieces).pack(), db=self.tables.uses)
            counter += 1
        self._unused = counter

    def make_room(self, txn: WriteTxn, key: bytes, charge: int) -> list[bytes]:
        """Evict until a record of this key fits, first of its tenant. Returns the evicted keys."""
        evicted = self.evict_tenant(txn, key[:TENANT_BYTES], charge)
        return evicted + self.evict(txn, down_to=self.bounds.all_bytes - charge)

    def evict_tenant(
        self, txn: WriteTxn, tenant: bytes, charge: int = 0, at_most: int | None = None
    ) -> list[bytes]:
        """Remove a tenant's least recently used until `charge` bytes fit into its bound."""
        bound, size = self.bound(tenant), self.size(txn, tenant).bytes
        if bound == self.bounds.all_bytes or size + charge <= bound:
            return []
        down_to = min(bound - charge, bound - bound // _TENANT_SPARE)
        evicted: list[bytes] = []
        for _, key in sorted((use.counter, key) for key, use in self._uses_of(txn, tenant)):
            if size <= down_to or len(evicted) == at_most:
                break
            size -= self.remove(txn, key).bytes
            evicted.append(key)
        return evicted

    def evict(self, txn: WriteTxn, down_to: int, at_most: int | None = None) -> list[bytes]:
        """Remove the least recently used until at most `down_to` bytes are left; returns the evicted keys."""
        evicted: list[bytes] = []
        while self.size(txn).bytes > down_to and len(evicted) != at_most:
            oldest = self._oldest(txn)
            if oldest is None:
                break
            if not self.remove(txn, oldest).bytes:
                raise Unsound(f"{self.name}: the order names a record that is not there")
            evicted.append(oldest)
        return evicted

    def keys(self, txn: ReadTxn | WriteTxn, prefix: bytes) -> Iterator[bytes]:
        return (key for key, _ in self._uses_of(txn, prefix))

    def _uses_of(self, txn: ReadTxn | WriteTxn, prefix: bytes) -> Iterator[tuple[bytes, Use]]:
        cursor = txn.cursor(db=self.tables.uses)
        valid = cursor.set_range(prefix)
        while valid and bytes(cursor.key()).startswith(prefix):
            yield bytes(cursor.key()), Use.unpack(cursor.value(), self._page)
            valid = cursor.next()

    def uses(self, txn: ReadTxn) -> Iterator[tuple[bytes, Use]]:
        """Every record by key."""
        for key, raw in txn.cursor(db=self.tables.uses):
            yield bytes(key), Use.unpack(raw, self._page)

    def has_whole_record(self, txn: ReadTxn, key: bytes, use: Use) -> bool:
        """Whether lookups return this record from every table, with all of its pieces."""
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

    def sizes(self, txn: ReadTxn | WriteTxn) -> dict[bytes, Amount]:
        """Records and bytes by tenant."""
        sums = txn.cursor(db=self.tables.sizes)
        return {bytes(tenant): unpack_size(raw) for tenant, raw in sums if bytes(tenant) != _ALL}

    @staticmethod
    def owners(key: bytes) -> tuple[bytes, bytes]:
        """The entries of `sizes` that count this key."""
        return _ALL, key[:TENANT_BYTES]

    @staticmethod
    def counted_as(key: bytes) -> int:
        """1 for a record, 0 for a sidecar."""
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
        """Never used before in this process: a compaction tells records from their replacements by it."""
        cursor = txn.cursor(db=self.tables.order)
        return max(self._unused, unpack_counter(cursor.key()) + 1 if cursor.last() else 0)

    def _oldest(self, txn: WriteTxn) -> bytes | None:
        cursor = txn.cursor(db=self.tables.order)
        return bytes(cursor.value()) if cursor.first() else None
