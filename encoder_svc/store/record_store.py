"""Whole operations on one area: read with checks, write with room made first, remove; each counted
by tenant.

The promise kept here: a crash, a full disk or a damaged record costs cache entries, never a wrong
byte and never the caller's request. So a read answers with a copy or with None, a write says
whether it was kept; only what cannot be answered that way (counting, deleting) raises. What the
facts of a record mean, the caller's `decode` knows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import lmdb
import numpy as np
import xxhash

from encoder_svc.store.core import Amount, PartitionStats, Put
from encoder_svc.store.counters import EventCounters
from encoder_svc.store.environment import Environment
from encoder_svc.store.partition import Partition
from encoder_svc.store.records import Head, Record, RecordInvalid
from encoder_svc.store.tables import ReadTxn
from fovea.contract.errors import StoreFailed

T = TypeVar("T")
Decode = Callable[[Head], T]

# A transaction that deletes more would keep other writers waiting for too long.
_REMOVE_AT_ONCE = 64
# After a write failed in spite of room made, no more room is made for this long: a disk that stays
# full would otherwise empty the store, a record at each put.
_REST_SECONDS = 60.0


class RecordStore:
    def __init__(self, env: Environment, name: str) -> None:
        self._env = env
        self._name = name
        self._tally = EventCounters()
        self._touched: dict[bytes, None] = {}
        self._touching = threading.Lock()
        self._rest_until = 0.0

    @property
    def _area(self) -> Partition:
        """The area of the environment that is open now: damage may have put another in its place."""
        return self._env.areas[self._name]

    def read(self, key: bytes, decode: Decode[T]) -> tuple[T, memoryview] | None:
        """What `decode` makes of the header, and a checked copy of the payload; None is a miss."""
        return self._counted(key, lambda txn, head: (decode(head), self._copy(txn, head)))

    def peek(self, key: bytes, decode: Decode[T]) -> T | None:
        """What `decode` makes of the header, without reading the payload."""
        return self._counted(key, lambda txn, head: decode(head))

    def look(self, key: bytes, decode: Decode[T]) -> T | None:
        """As `peek`, and no use: neither a hit nor a miss, and the record keeps its place in the order."""
        return self._checked(key, lambda txn, head: decode(head))

    def note_use(self, key: bytes) -> None:
        """Count a hit and move the record, if there is one, to the end of the order."""
        self._tally.add(key, "hits")
        self._touch(key)

    def write(self, key: bytes, facts: bytes, data: bytes | memoryview) -> Put:
        """Keep a copy of `data` under `key`, in place of what is there. An area of 0 bytes is off."""
        if self._area.bound_bytes == 0:
            return Put("off")
        record = Record.cut(key, facts, data, time.time())
        if self._area.charge(record) > self._area.bound_bytes:
            self._tally.add(key, "skipped_puts")
            return Put("too_large")
        if self._insert(record) or self._insert_with_room_made(record):
            self._tally.add(key, "puts")
            return Put()
        self._tally.add(key, "skipped_puts")
        return Put("write_failed")

    def remove(self, prefix: bytes) -> Amount:
        """Delete every record whose key begins with `prefix`. StoreFailed where some may be left."""
        removed = Amount()
        with self._must("delete"):
            while (some := self._remove_some(prefix)).bytes:
                removed += some
        return removed

    def keys(self, prefix: bytes) -> list[bytes]:
        with self._must("list"), self._env.read() as txn:
            return list(self._area.keys(txn, prefix))

    def stats(self) -> dict[bytes, PartitionStats]:
        with self._must("count"), self._env.read() as txn:
            return self._tally.stats(self._area.sizes(txn))

    def shrink(self) -> None:
        """Evict down to the bound, which may be lower than it was at the last start."""
        try:
            while gone := self._evict_some():
                self._count_evicted(gone)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.shrink")

    def flush(self) -> None:
        """Write down the last uses that reads have noted. Lost on failure: only their order suffers."""
        touched = self._take_touched()
        if not touched:
            return
        try:
            with self._env.write() as txn:
                self._area.touch(txn, touched)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.touch")

    def _counted(self, key: bytes, use: Callable[[ReadTxn, Head], T]) -> T | None:
        found = self._checked(key, use)
        self._tally.add(key, "misses" if found is None else "hits")
        if found is not None:
            self._touch(key)
        return found

    def _checked(self, key: bytes, use: Callable[[ReadTxn, Head], T]) -> T | None:
        raw = None
        try:
            with self._env.read() as txn:
                raw = self._area.head(txn, key)
                return None if raw is None else use(txn, Head.unpack(raw, key))
        except RecordInvalid:
            self._discard(key, raw)
            self._tally.add(key, "failed_checks")
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.read")
            self._tally.add(key, "errors")
        return None

    def _copy(self, txn: ReadTxn, head: Head) -> memoryview:
        """The payload in memory of its own. The copy is checked, not the source: it is what is served."""
        if head.length > self._area.bound_bytes:
            raise RecordInvalid("longer than the area")
        # Not a bytearray: that would be filled with zeros first. copyto lets other threads run meanwhile.
        copy = np.empty(head.length, np.uint8)
        for number, (start, end) in enumerate(head.spans()):
            piece = self._area.piece(txn, head.key, number)
            if piece is None or len(piece) != end - start:
                raise RecordInvalid("piece length")
            part = copy[start:end]
            np.copyto(part, np.frombuffer(piece, np.uint8))
            if xxhash.xxh3_64_intdigest(part.data) != head.checks[number]:
                raise RecordInvalid("piece check")
        return copy.data.toreadonly()

    def _insert(self, record: Record) -> bool:
        room = self._area.bound_bytes - self._area.charge(record)
        try:
            with self._env.write() as txn:
                self._area.touch(txn, self._take_touched())
                self._area.remove(txn, record.head.key)
                gone = self._area.evict(txn, down_to=room)
                self._area.insert(txn, record)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.put")
            self._tally.add(record.head.key, "errors")
            return False
        self._count_evicted(gone)
        return True

    def _insert_with_room_made(self, record: Record) -> bool:
        if time.monotonic() < self._rest_until:
            return False
        if self._make_room(record) and self._insert(record):
            return True
        self._rest_until = time.monotonic() + _REST_SECONDS
        return False

    def _make_room(self, record: Record) -> bool:
        """Evict as much as `record` takes, in a commit of its own: it cannot use what it frees itself."""
        try:
            with self._env.write() as txn:
                left = self._area.size(txn).bytes - self._area.charge(record)
                gone = self._area.evict(txn, down_to=left)
            self._env.settle()
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.evict")
            return False
        self._count_evicted(gone)
        return True

    def _discard(self, key: bytes, raw: bytes | None) -> None:
        """Remove a record that failed its checks, unless a good one has taken its place."""
        try:
            with self._env.write() as txn:
                if self._area.head(txn, key) == raw:
                    self._area.remove(txn, key)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.discard")

    def _evict_some(self) -> list[bytes]:
        with self._env.write() as txn:
            return self._area.evict(txn, self._area.bound_bytes, at_most=_REMOVE_AT_ONCE)

    def _remove_some(self, prefix: bytes) -> Amount:
        with self._env.write() as txn:
            keys = list(islice(self._area.keys(txn, prefix), _REMOVE_AT_ONCE))
            return sum((self._area.remove(txn, key) for key in keys), Amount())

    def _touch(self, key: bytes) -> None:
        with self._touching:
            self._touched.pop(key, None)
            self._touched[key] = None

    def _take_touched(self) -> dict[bytes, None]:
        with self._touching:
            touched, self._touched = self._touched, {}
        return touched

    def _count_evicted(self, keys: list[bytes]) -> None:
        for key in keys:
            self._tally.add(key, "evictions")

    @contextmanager
    def _must(self, verb: str) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.{verb}")
            raise StoreFailed(f"the store could not {verb} {self._name}") from error
