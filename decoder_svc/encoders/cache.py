"""Rows that were fetched once, kept in this process's memory: a repeat costs no transfer.

Bounded in bytes, those still arriving included, and in age; the least recently used go first. Only what came
whole and passed every check is kept, under everything that was asked of it: a field that joins RowRequest
joins the key. An image that was deleted at its encoder is not asked for any more, because its facts are
asked for first, of its owner, for the caller's tenant. But its rows stay here until they are old or make
room, and answer again where the same bytes are uploaded anew. Nothing here knows gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from decoder_svc.encoders.source import FetchReport, RowFetch, RowFetcher, RowRequest
from decoder_svc.engine.protocol import RowChunk
from fovea.contract.rows import RowOrigin
from fovea.deadline import Deadline


@dataclass(frozen=True)
class _Kept:
    """All rows of one image as they came, the report of that fetch, and when they came."""

    chunks: tuple[RowChunk, ...]
    report: FetchReport
    since: float


class RowCache:
    """Lives in one event loop. A capacity of 0 keeps nothing and stands in nobody's way."""

    def __init__(
        self, capacity_bytes: int = 0, max_age_s: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self.max_age_s = max_age_s
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._clock = clock
        self._kept: OrderedDict[RowRequest, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._arriving: dict[RowRequest, int] = {}

    def over(self, source: RowFetcher) -> RowFetcher:
        """`source` behind this cache."""
        return _CachedSource(source, self) if self.capacity_bytes else source

    @property
    def used_bytes(self) -> int:
        """Of rows that are kept and of rows that are promised a place."""
        return self._kept_bytes + sum(self._arriving.values())

    def holds(self, wanted: RowRequest) -> bool:
        """Whether `find` would give them; not counted as a use."""
        kept = self._kept.get(wanted)
        return kept is not None and self._clock() - kept.since <= self.max_age_s

    def find(self, wanted: RowRequest) -> _Kept | None:
        kept = self._kept.get(wanted)
        if kept is not None and self._clock() - kept.since > self.max_age_s:
            self._drop(wanted)
            kept = None
        if kept is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(wanted)
        return kept

    def reserve(self, wanted: RowRequest) -> bool:
        """Whether rows that begin to arrive may be kept: once a key, and only where they all fit."""
        size = _size(wanted)
        if wanted in self._arriving or sum(self._arriving.values()) + size > self.capacity_bytes:
            return False
        while self.used_bytes + size > self.capacity_bytes:
            self._drop(next(iter(self._kept)))
            self.evictions += 1
        self._arriving[wanted] = size
        return True

    def release(self, wanted: RowRequest) -> None:
        """The rows have come, or will not."""
        del self._arriving[wanted]

    def keep(self, wanted: RowRequest, chunks: list[RowChunk], report: FetchReport) -> None:
        """Rows for which a place is reserved, in the place of older ones."""
        self._drop(wanted)
        self._kept[wanted] = _Kept(tuple(chunks), replace(report), self._clock())
        self._kept_bytes += _size(wanted)

    def _drop(self, wanted: RowRequest) -> None:
        if self._kept.pop(wanted, None) is not None:
            self._kept_bytes -= _size(wanted)


@dataclass(frozen=True)
class _CachedSource:
    source: RowFetcher
    cache: RowCache

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> RowFetch:
        return CachedFetch(self.source, self.cache, wanted, deadline)


@dataclass
class CachedFetch:
    """The rows of one image out of the cache, or from the source and into it."""

    source: RowFetcher
    cache: RowCache
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        kept = self.cache.find(self.wanted)
        async with aclosing(self._fetched() if kept is None else self._again(kept)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _again(self, kept: _Kept) -> AsyncGenerator[RowChunk, None]:
        """No encoder served these, and nothing travelled."""
        first = kept.report
        self.report = FetchReport(RowOrigin.STORE, row_bytes=first.row_bytes, rows_digest=first.rows_digest)
        for chunk in kept.chunks:
            yield chunk
            await asyncio.sleep(0)  # copying a large image must not hold up the others

    async def _fetched(self) -> AsyncGenerator[RowChunk, None]:
        fetch = self.source.fetch(self.wanted, self.deadline)
        self.report = fetch.report
        arrived: list[RowChunk] = []
        reserved = False
        try:
            async with aclosing(fetch.chunks()) as chunks:
                async for chunk in chunks:
                    reserved = reserved or (chunk.first_row == 0 and self.cache.reserve(self.wanted))
                    if reserved:
                        arrived.append(chunk)
                    yield chunk
            if reserved:
                self.cache.keep(self.wanted, arrived, fetch.report)
        finally:
            if reserved:
                self.cache.release(self.wanted)


def _size(wanted: RowRequest) -> int:
    return wanted.rows * wanted.layout.row_bytes
