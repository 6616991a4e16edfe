"""Whole operations on a partition: checked reads, writes that make room first, removals; all counted by
tenant.

A crash, a full disk or a damaged record may cost cache entries, but never yields a wrong byte or fails the
caller's request. So a read returns a copy or None, and a write reports whether it stored. Only operations
without such an answer (counting, deleting) raise. The caller's `decode` interprets the facts of a record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

import lmdb
import numpy as np
import xxhash

from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import PartitionStats, Put
from encoder_svc.store.counters import EventCounters
from encoder_svc.store.environment import Environment
from encoder_svc.store.partition import Partition
from encoder_svc.store.records import Head, Record, RecordInvalid
from encoder_svc.store.tables import ReadTxn
from fovea.contract.errors import StoreFailed

T = TypeVar("T")
Decode = Callable[[Head], T]

# Larger deletions would block other writers for too long.
_REMOVE_AT_ONCE = 64
_EVICT_AT_ONCE = 1024
# If a write fails even after an eviction, no further evictions follow for this long. Otherwise a disk that
# stays full would empty the store, a record per put.
_REST_SECONDS = 60.0


class RecordStore:
    def __init__(self, env: Environment, name: str) -> None:
        self._env = env
        self._name = name
        self._counters = EventCounters()
        self._touched: dict[bytes, None] = {}
        self._touched_lock = threading.Lock()
        self._rest_until = 0.0

    @property
    def _partition(self) -> Partition:
        """The partition of the current environment, which is replaced after damage."""
        return self._env.partitions[self._name]

    def read(self, key: bytes, decode: Decode[T]) -> tuple[T, memoryview] | None:
        """The decoded header, and a checked copy of the payload; None is a miss."""
        return self._counted(key, lambda txn, head: (decode(head), self._copy(txn, head)))

    def peek(self, key: bytes, decode: Decode[T]) -> T | None:
        """The decoded header, without reading the payload."""
        return self._counted(key, lambda txn, head: decode(head))

    def look(self, key: bytes, decode: Decode[T]) -> T | None:
        """Like `peek`, but not a use: no hit, no miss, and the record keeps its position in the order."""
        return self._checked(key, lambda txn, head: decode(head))

    def note_use(self, key: bytes) -> None:
        """Count a hit and move the record, if it exists, to the end of the order."""
        self._counters.add(key, "hits")
        self._touch(key)

    def write(self, key: bytes, facts: bytes, data: bytes | memoryview) -> Put:
        """Store a copy of `data` under `key`, replacing what is there. A bound of 0 bytes disables writes."""
        if self._partition.bounds.all_bytes == 0:
            return Put("off")
        record = Record.cut(key, facts, data, time.time())
        if self._partition.charge(record) > self._partition.bound(key):
            self._counters.add(key, "skipped_puts")
            return Put("too_large")
        if self._insert(record) or self._insert_after_eviction(record):
            self._counters.add(key, "puts")
            return Put()
        self._counters.add(key, "skipped_puts")
        return Put("write_failed")

    def remove(self, prefix: bytes) -> Amount:
        """Delete every record whose key begins with `prefix`. StoreFailed if some may be left."""
        return self._retried("delete", lambda: self._remove_all(prefix))

    def keys(self, prefix: bytes) -> list[bytes]:
        def keys() -> list[bytes]:
            with self._env.read() as txn:
                return list(self._partition.keys(txn, prefix))

        return self._retried("list", keys)

    def stats(self) -> dict[bytes, PartitionStats]:
        def stats() -> dict[bytes, PartitionStats]:
            with self._env.read() as txn:
                return self._counters.stats(self._partition.sizes(txn))

        return self._retried("count", stats)

    def total(self) -> PartitionStats:
        """Of all tenants, in constant time."""

        def total() -> PartitionStats:
            with self._env.read() as txn:
                return self._counters.total(self._partition.size(txn))

        return self._retried("count", total)

    def shrink(self) -> None:
        """Evict down to the bound, which may be lower than at the last start."""
        try:
            while evicted := self._evict_some():
                self._count_evicted(evicted)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.shrink")

    def flush(self) -> None:
        """Write the last uses noted by reads. A failure only affects the eviction order."""
        touched = self._take_touched()
        if not touched:
            return
        try:
            with self._env.write() as txn:
                self._partition.touch(txn, touched)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.touch")

    def _counted(self, key: bytes, use: Callable[[ReadTxn, Head], T]) -> T | None:
        result = self._checked(key, use)
        self._counters.add(key, "misses" if result is None else "hits")
        if result is not None:
            self._touch(key)
        return result

    def _checked(self, key: bytes, use: Callable[[ReadTxn, Head], T]) -> T | None:
        raw = None
        try:
            with self._env.read() as txn:
                raw = self._partition.head(txn, key)
                return None if raw is None else use(txn, Head.unpack(raw, key))
        except RecordInvalid:
            self._discard(key, raw)
            self._counters.add(key, "failed_checks")
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.read")
            self._counters.add(key, "errors")
        return None

    def _copy(self, txn: ReadTxn, head: Head) -> memoryview:
        """The payload in memory of its own. Checks run on the copy, because it is what is served."""
        if head.length > self._partition.bounds.all_bytes:
            raise RecordInvalid("longer than the area")
        # A bytearray would be zero-filled first. copyto releases the GIL.
        copy = np.empty(head.length, np.uint8)
        for number, (start, end) in enumerate(head.spans()):
            piece = self._partition.piece(txn, head.key, number)
            if piece is None or len(piece) != end - start:
                raise RecordInvalid("piece length")
            part = copy[start:end]
            np.copyto(part, np.frombuffer(piece, np.uint8))
            if xxhash.xxh3_64_intdigest(part.data) != head.checks[number]:
                raise RecordInvalid("piece check")
        return copy.data.toreadonly()

    def _insert(self, record: Record) -> bool:
        try:
            with self._env.write() as txn:
                self._partition.touch(txn, self._take_touched())
                self._partition.remove(txn, record.head.key)
                evicted = self._partition.make_room(txn, record.head.key, self._partition.charge(record))
                self._partition.insert(txn, record)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.put")
            self._counters.add(record.head.key, "errors")
            return False
        self._count_evicted(evicted)
        return True

    def _insert_after_eviction(self, record: Record) -> bool:
        if time.monotonic() < self._rest_until:
            return False
        if self._make_room(record) and self._insert(record):
            return True
        self._rest_until = time.monotonic() + _REST_SECONDS
        return False

    def _make_room(self, record: Record) -> bool:
        """Evict the size of `record` in a separate commit, because no commit reuses pages that it frees."""
        try:
            with self._env.write() as txn:
                left = self._partition.size(txn).bytes - self._partition.charge(record)
                evicted = self._partition.evict(txn, down_to=left)
            self._env.settle()
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.evict")
            return False
        self._count_evicted(evicted)
        return True

    def _discard(self, key: bytes, raw: bytes | None) -> None:
        """Remove a record that failed its checks, unless a valid record has replaced it."""
        try:
            with self._env.write() as txn:
                if self._partition.head(txn, key) == raw:
                    self._partition.remove(txn, key)
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.discard")

    def _evict_some(self) -> list[bytes]:
        with self._env.write() as txn:
            partition = self._partition
            evicted = partition.evict(txn, partition.bounds.all_bytes, at_most=_REMOVE_AT_ONCE)
            for tenant in [] if evicted else partition.sizes(txn):
                evicted += partition.evict_tenant(txn, tenant, at_most=_EVICT_AT_ONCE)
            return evicted

    def _remove_all(self, prefix: bytes) -> Amount:
        removed = Amount()
        while (batch := self._remove_some(prefix)).bytes:
            removed += batch
        return removed

    def _remove_some(self, prefix: bytes) -> Amount:
        with self._env.write() as txn:
            keys = list(islice(self._partition.keys(txn, prefix), _REMOVE_AT_ONCE))
            return sum((self._partition.remove(txn, key) for key in keys), Amount())

    def _touch(self, key: bytes) -> None:
        with self._touched_lock:
            self._touched.pop(key, None)
            self._touched[key] = None

    def _take_touched(self) -> dict[bytes, None]:
        with self._touched_lock:
            touched, self._touched = self._touched, {}
        return touched

    def _count_evicted(self, keys: list[bytes]) -> None:
        for key in keys:
            self._counters.add(key, "evictions")

    def _retried(self, verb: str, call: Callable[[], T]) -> T:
        """Call again after an error: damage has replaced the environment. StoreFailed if that fails too."""
        try:
            return call()
        except lmdb.Error as error:
            self._env.report(error, f"{self._name}.{verb}")
        try:
            return call()
        except lmdb.Error as error:
            raise StoreFailed(f"the store could not {verb} {self._name}") from error
