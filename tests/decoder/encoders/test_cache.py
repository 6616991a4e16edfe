"""Rows in the decoder's memory: whole ones only, within their bytes and their time, told as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.source import FetchReport, RowFetch, RowRequest
from decoder_svc.engine.protocol import RowChunk
from fovea.contract.errors import RowsMismatch
from fovea.contract.plan import EncodePlan
from tests.decoder.encoders.fakes import EXPECTED, LAYOUT

ROWS = 6
SIZE = ROWS * LAYOUT.row_bytes


def wanted(name: str = "a", rows: int = ROWS) -> RowRequest:
    return RowRequest(name, EncodePlan(65_536), (1, 2, 2 * rows), rows, EXPECTED.fingerprint, LAYOUT)


@dataclass
class FakeFetch:
    """Two rows a chunk; `fails_at` is the row before which the stream breaks."""

    wanted: RowRequest
    fails_at: int
    asked: list[str]
    closed: list[str]
    report: FetchReport = field(default_factory=FetchReport)

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        self.asked.append(self.wanted.digest)
        try:
            for first in range(0, self.wanted.rows, 2):
                if first == self.fails_at:
                    raise RowsMismatch("broken")
                yield RowChunk(first, 2, self.wanted.digest.encode() * 2 * LAYOUT.row_bytes)
            if self.wanted.rows == self.fails_at:
                raise RowsMismatch("broken")
            size = self.wanted.rows * LAYOUT.row_bytes
            self.report.origin, self.report.encoder, self.report.rows_digest = "encoded", "e", "sha256:00"
            self.report.row_bytes = self.report.wire_bytes = size
        finally:
            self.closed.append(self.wanted.digest)


class FakeSource:
    """A source that counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed: list[str] = []
        self.fails_at = -1

    def fetch(self, wanted: RowRequest) -> RowFetch:
        return FakeFetch(wanted, self.fails_at, self.asked, self.closed)


async def read(source: FakeSource, cache: RowCache, asked: RowRequest) -> tuple[bytes, FetchReport]:
    fetch = cache.over(source.fetch(asked), asked)
    data = b"".join([bytes(chunk.data) async for chunk in fetch.chunks()])
    return data, fetch.report


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


async def test_a_repeat_is_the_same_rows_and_no_transfer(source: FakeSource) -> None:
    cache = RowCache(SIZE)
    first, told = await read(source, cache, wanted())
    again, retold = await read(source, cache, wanted())
    assert (first, source.asked) == (again, ["a"])
    assert (told.origin, told.encoder, told.wire_bytes) == ("encoded", "e", SIZE)
    assert (retold.origin, retold.encoder, retold.wire_bytes) == ("rows", "", 0)
    assert (retold.rows_digest, retold.row_bytes) == (told.rows_digest, SIZE)
    assert (cache.hits, cache.misses, cache.used_bytes) == (1, 1, SIZE)


@pytest.mark.parametrize(
    "other",
    [
        wanted("b"),
        replace(wanted(), plan=EncodePlan(65_537)),
        replace(wanted(), plan=EncodePlan(65_536, flat_tolerance=0)),
        replace(wanted(), kept=np.zeros(1, np.int32)),
        replace(wanted(), grid_thw=(1, 4, 6)),
        replace(wanted(), fingerprint="sha256:" + "0" * 64),
        replace(wanted(), layout=replace(LAYOUT, levels=4)),
        replace(wanted(), tenant="other"),
    ],
)
async def test_cache_key_holds_everything_that_decides_rows(source: FakeSource, other: RowRequest) -> None:
    cache = RowCache(10 * SIZE)
    await read(source, cache, wanted())
    await read(source, cache, other)
    assert len(source.asked) == 2


async def test_tenants_of_a_pool_share_rows(source: FakeSource) -> None:
    cache = RowCache(10 * SIZE)
    await read(source, cache, replace(wanted(), shared=True))
    await read(source, cache, replace(wanted(), shared=True, tenant="other"))
    assert len(source.asked) == 1


async def test_a_deletion_drops_its_rows_only(source: FakeSource) -> None:
    cache = RowCache(10 * SIZE)
    for rows in (wanted("a"), wanted("b")):
        await read(source, cache, rows)
    cache.delete(lambda rows: rows.digest == "a")
    assert (cache.holds(wanted("a")), cache.holds(wanted("b")), cache.used_bytes) == (False, True, SIZE)


async def test_rows_that_arrive_during_a_deletion_are_not_kept(source: FakeSource) -> None:
    cache = RowCache(10 * SIZE)
    chunks = cache.over(source.fetch(wanted()), wanted()).chunks()
    await anext(chunks)
    cache.delete(lambda rows: True)
    async for _ in chunks:
        pass
    assert (cache.holds(wanted()), cache.used_bytes) == (False, 0)


async def test_a_deletion_of_another_image_keeps_rows_that_arrive(source: FakeSource) -> None:
    """Otherwise a tenant that deletes all the time would keep the cache empty for all."""
    cache = RowCache(10 * SIZE)
    chunks = cache.over(source.fetch(wanted()), wanted()).chunks()
    await anext(chunks)
    cache.delete(lambda rows: rows.digest == "b")
    async for _ in chunks:
        pass
    assert cache.holds(wanted())


async def test_rows_whose_fetch_has_no_chunk_yet_are_not_kept_after_a_deletion(source: FakeSource) -> None:
    cache = RowCache(10 * SIZE)
    with cache.arriving(wanted()) as arrival:
        cache.delete(lambda rows: rows.digest == "a")
        cache.reserve(arrival)
        cache.keep(arrival, [], FetchReport())
    assert (cache.holds(wanted()), cache.used_bytes) == (False, 0)


async def test_the_bound_holds_and_the_least_recently_used_goes_first(source: FakeSource) -> None:
    cache = RowCache(2 * SIZE + 1)
    for name in "abac":
        await read(source, cache, wanted(name))
        assert cache.used_bytes <= cache.capacity_bytes
    await read(source, cache, wanted("a"))
    assert source.asked == ["a", "b", "c"]
    await read(source, cache, wanted("b"))
    assert source.asked == ["a", "b", "c", "b"]


async def test_rows_larger_than_the_cache_evict_nothing(source: FakeSource) -> None:
    cache = RowCache(SIZE)
    await read(source, cache, wanted())
    data, _ = await read(source, cache, wanted("b", ROWS + 2))
    assert len(data) == SIZE + 2 * LAYOUT.row_bytes
    await read(source, cache, wanted())
    assert source.asked == ["a", "b"]


@pytest.mark.parametrize("fails_at", [0, 2, ROWS])
async def test_a_stream_that_breaks_is_not_kept(source: FakeSource, fails_at: int) -> None:
    cache, source.fails_at = RowCache(SIZE), fails_at
    with pytest.raises(RowsMismatch):
        await read(source, cache, wanted())
    assert cache.used_bytes == 0
    source.fails_at = -1
    _, report = await read(source, cache, wanted())
    assert (report.origin, source.asked) == ("encoded", ["a", "a"])


async def test_leaving_early_closes_the_transfer_and_caches_nothing(source: FakeSource) -> None:
    cache = RowCache(SIZE)
    chunks = cache.over(source.fetch(wanted()), wanted()).chunks()
    await anext(chunks)
    assert cache.used_bytes == SIZE
    await chunks.aclose()
    assert (cache.used_bytes, source.closed) == (0, ["a"])


async def test_concurrent_reads_are_complete_and_cached_once(source: FakeSource) -> None:
    cache = RowCache(4 * SIZE)
    found = await asyncio.gather(*(read(source, cache, wanted()) for _ in range(3)))
    assert len({data for data, _ in found}) == 1
    assert cache.used_bytes == SIZE


async def test_rows_that_are_too_old_are_fetched_anew(source: FakeSource) -> None:
    now = [0.0]
    cache = RowCache(SIZE, 60.0, lambda: now[0])
    for now[0] in (0.0, 60.0, 61.0):
        await read(source, cache, wanted())
    assert source.asked == ["a", "a"]
    assert cache.used_bytes == SIZE


def test_without_capacity_every_read_goes_to_the_source(source: FakeSource) -> None:
    fetch = source.fetch(wanted())
    assert RowCache().over(fetch, wanted()) is fetch
