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
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
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
        self.deletions = 0
        self._clock = clock
        self._entries: OrderedDict[RowRequest, _CacheEntry] = OrderedDict()
        self._entry_bytes = 0
        self._arriving: dict[RowRequest, int] = {}

    def over(self, fetch: RowFetch, wanted: RowRequest) -> RowFetch:
        """`fetch` with this cache in front of it."""
        return CachedFetch(fetch, self, wanted) if self.capacity_bytes else fetch

    @property
    def used_bytes(self) -> int:
        """Bytes of cached rows and of reservations."""
        return self._entry_bytes + sum(self._arriving.values())

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

    def reserve(self, wanted: RowRequest) -> bool:
        """Reserve space for arriving rows. False if the key is already reserved or the rows do not fit."""
        size = _size(wanted)
        if wanted in self._arriving or sum(self._arriving.values()) + size > self.capacity_bytes:
            return False
        while self.used_bytes + size > self.capacity_bytes:
            self._drop(next(iter(self._entries)))
            self.evictions += 1
        self._arriving[wanted] = size
        return True

    def release(self, wanted: RowRequest) -> None:
        """End the reservation: the rows have arrived, or the fetch failed."""
        del self._arriving[wanted]

    def keep(self, wanted: RowRequest, chunks: list[RowChunk], report: FetchReport) -> None:
        """Cache rows that were reserved. Replaces an older entry of the same key."""
        self._drop(wanted)
        self._entries[wanted] = _CacheEntry(tuple(chunks), replace(report), self._clock())
        self._entry_bytes += _size(wanted)

    def delete(self, matches: Callable[[RowRequest], bool]) -> None:
        """Drop the matching entries. Rows whose fetch began before are not cached."""
        self.deletions += 1
        for wanted in list(filter(matches, self._entries)):
            self._drop(wanted)

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
        reserved, deletions = False, self._cache.deletions
        try:
            async with aclosing(self._fetch.chunks()) as chunks:
                async for chunk in chunks:
                    reserved = reserved or (chunk.first_row == 0 and self._cache.reserve(self._wanted))
                    if reserved:
                        arrived.append(chunk)
                    yield chunk
            if reserved and deletions == self._cache.deletions:
                self._cache.keep(self._wanted, arrived, self.report)
        finally:
            if reserved:
                self._cache.release(self._wanted)


def _size(wanted: RowRequest) -> int:
    return wanted.rows * wanted.layout.row_bytes
