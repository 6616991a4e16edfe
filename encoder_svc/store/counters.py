"""Event counts of a partition by tenant since the process started. Sizes are read from disk instead."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import Literal

from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import PartitionStats
from encoder_svc.store.keys import TENANT_BYTES, is_sidecar

Event = Literal["hits", "misses", "puts", "skipped_puts", "evictions", "failed_checks", "errors"]
MAX_TENANTS = 1024
OTHERS = b""
_FAILURES: frozenset[Event] = frozenset({"failed_checks", "errors"})


class EventCounters:
    """Counts of the MAX_TENANTS tenants that came last; earlier ones are counted together, as OTHERS."""

    def __init__(self) -> None:
        self._counts: defaultdict[bytes, Counter[Event]] = defaultdict(Counter)
        self._sums: Counter[Event] = Counter()
        self._lock = threading.Lock()

    def add(self, key: bytes, *events: Event) -> None:
        """Count events of a record. A sidecar counts failures only, so that hits are hits of records."""
        counted = _FAILURES.intersection(events) if is_sidecar(key) else events
        with self._lock:
            self._counts[key[:TENANT_BYTES]].update(counted)
            self._sums.update(counted)
            if len(self._counts) > MAX_TENANTS:
                oldest = next(tenant for tenant in self._counts if tenant != OTHERS)
                self._counts[OTHERS].update(self._counts.pop(oldest))

    def total(self, size: Amount) -> PartitionStats:
        """The counts of all tenants, together with their size on disk."""
        with self._lock:
            sums = dict(self._sums)
        return PartitionStats(**vars(size), **sums)

    def stats(self, sizes: dict[bytes, Amount]) -> dict[bytes, PartitionStats]:
        """The counts together with each tenant's size on disk."""
        with self._lock:
            counts = {tenant: dict(events) for tenant, events in self._counts.items()}
        return {
            tenant: PartitionStats(**vars(sizes.get(tenant, Amount())), **counts.get(tenant, {}))
            for tenant in sizes.keys() | counts.keys()
        }
