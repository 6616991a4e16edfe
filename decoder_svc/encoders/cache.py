"""In-process cache of fetched rows: a repeated image needs no transfer.

Bounded in bytes, including rows still arriving, and in age; evicts the least recently used entry. Only
complete rows that passed every check are cached. The key is the whole RowRequest, so a new field becomes part
of it. A request first fetches an image's facts from its owner, for the caller's tenant, so a deleted image is
never served. A deletion through this decoder drops its rows at once; otherwise they stay until they expire or
are evicted. Independent of gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace

from decoder_svc.encoders.source import FetchReport, RowFetch, RowRequest
from decoder_svc.engine.protocol import RowChunk
from fovea.contract.rows import RowOrigin


@dataclass(frozen=True)
class _CacheEntry:
    """All rows of an image as received, the report of that fetch, and its time."""

    chunks: tuple[RowChunk, ...]
    report: FetchReport
    since: float


@dataclass(eq=False)
class _Arrival:
    """Rows on their way into the cache, with the bytes reserved for them. A deletion makes them void."""

    wanted: RowRequest
    reserved_bytes: int = 0
    void: bool = False


class RowCache:
    """Lives in a single event loop. A capacity of 0 disables the cache."""

    def __init__(
        self, capacity_bytes: int = 0, max_age_s: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self.max_age_s = max_age_s
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._clock = clock
        self._entries: OrderedDict[RowRequest, _CacheEntry] = OrderedDict()
        self._entry_bytes = 0
        self._arrivals: set[_Arrival] = set()

    def over(self, fetch: RowFetch, wanted: RowRequest) -> RowFetch:
        """`fetch` with this cache in front of it."""
        return CachedFetch(fetch, self, wanted) if self.capacity_bytes else fetch

    @property
    def used_bytes(self) -> int:
        """Bytes of cached rows and of reservations."""
        return self._entry_bytes + self._reserved_bytes

    @property
    def _reserved_bytes(self) -> int:
        return sum(arrival.reserved_bytes for arrival in self._arrivals)

    def holds(self, wanted: RowRequest) -> bool:
        """Whether `find` would return the rows; not counted as a use."""
        entry = self._entries.get(wanted)
        return entry is not None and self._clock() - entry.since <= self.max_age_s

    def find(self, wanted: RowRequest) -> _CacheEntry | None:
        entry = self._entries.get(wanted)
        if entry is not None and self._clock() - entry.since > self.max_age_s:
            self._drop(wanted)
            entry = None
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(wanted)
        return entry

    @contextmanager
    def arriving(self, wanted: RowRequest) -> Iterator[_Arrival]:
        """The fetch of rows that may be cached. Leaving the block ends its reservation."""
        arrival = _Arrival(wanted)
        self._arrivals.add(arrival)
        try:
            yield arrival
        finally:
            self._arrivals.remove(arrival)

    def reserve(self, arrival: _Arrival) -> None:
        """Reserve space for the rows, unless they are void, reserved by another fetch, or do not fit."""
        size = _size(arrival.wanted)
        taken = any(other.wanted == arrival.wanted and other.reserved_bytes for other in self._arrivals)
        if arrival.void or taken or self._reserved_bytes + size > self.capacity_bytes:
            return
        while self.used_bytes + size > self.capacity_bytes:
            self._drop(next(iter(self._entries)))
            self.evictions += 1
        arrival.reserved_bytes = size

    def keep(self, arrival: _Arrival, chunks: list[RowChunk], report: FetchReport) -> None:
        """Cache the rows if they are reserved. Replaces an older entry of the same key."""
        if arrival.reserved_bytes:
            arrival.reserved_bytes = 0
            self._drop(arrival.wanted)
            self._entries[arrival.wanted] = _CacheEntry(tuple(chunks), replace(report), self._clock())
            self._entry_bytes += _size(arrival.wanted)

    def delete(self, matches: Callable[[RowRequest], bool]) -> None:
        """Drop the matching entries. Matching rows whose fetch has begun are not cached."""
        for wanted in list(filter(matches, self._entries)):
            self._drop(wanted)
        for arrival in self._arrivals:
            if matches(arrival.wanted):
                arrival.void, arrival.reserved_bytes = True, 0

    def _drop(self, wanted: RowRequest) -> None:
        if self._entries.pop(wanted, None) is not None:
            self._entry_bytes -= _size(wanted)


class CachedFetch:
    """The rows of an image from the cache. On a miss they come from another fetch and are cached."""

    def __init__(self, fetch: RowFetch, cache: RowCache, wanted: RowRequest) -> None:
        self._fetch = fetch
        self._cache = cache
        self._wanted = wanted
        self._hit: FetchReport | None = None

    @property
    def report(self) -> FetchReport:
        return self._hit or self._fetch.report

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        entry = self._cache.find(self._wanted)
        async with aclosing(self._fetched() if entry is None else self._cached(entry)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _cached(self, entry: _CacheEntry) -> AsyncGenerator[RowChunk, None]:
        """The report names no encoder and no wire bytes."""
        first = entry.report
        self._hit = FetchReport(RowOrigin.STORE, row_bytes=first.row_bytes, rows_digest=first.rows_digest)
        for chunk in entry.chunks:
            yield chunk
            await asyncio.sleep(0)  # copying a large image must not block other requests

    async def _fetched(self) -> AsyncGenerator[RowChunk, None]:
        arrived: list[RowChunk] = []
        with self._cache.arriving(self._wanted) as arrival:
            async with aclosing(self._fetch.chunks()) as chunks:
                async for chunk in chunks:
                    if chunk.first_row == 0:
                        self._cache.reserve(arrival)
                    if arrival.reserved_bytes:
                        arrived.append(chunk)
                    yield chunk
            self._cache.keep(arrival, arrived, self.report)


def _size(wanted: RowRequest) -> int:
    return wanted.rows * wanted.layout.row_bytes
