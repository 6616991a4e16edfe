"""Rankings of rows: read from the store or the second level, or computed once for concurrent callers, on a
dedicated thread.

A new ranking is served from memory until it is written, so a concurrent call does not run the tower for it.
The latest rankings stay in memory even if the store skipped them: Encode must send what PlaceRows reported,
though another batch may change the last bits of an image's rows. Uses reducers and the store; the caller
supplies what a reducer reads.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import structlog

from encoder_svc.core import EncodeJob
from encoder_svc.errors import RankingsBusy
from encoder_svc.permits import WritePermits
from encoder_svc.reduction import rankers
from encoder_svc.reduction.errors import RankingFailed
from encoder_svc.reduction.rankers import RankerInput
from encoder_svc.reduction.ranking import RANKING_REVISION, Ranking
from encoder_svc.shared.level import NOT_SHARED, SecondLevel
from encoder_svc.single_flight import SingleFlight
from encoder_svc.store.keys import RowKey
from encoder_svc.store.store import LmdbStore
from fovea.contract.plan import Reducer

log = structlog.get_logger()

# Rankings in memory: 1,280 rows take 10 KiB.
MAX_LATEST = 64
# Each holds the rows of an image until its turn.
MAX_WAITING = 64
RankingKey: TypeAlias = tuple[RowKey, Reducer]


class Rankings:
    """Confined to an event loop. `on_made` is called for each computed ranking."""

    def __init__(
        self,
        store: LmdbStore,
        permits: WritePermits,
        on_made: Callable[[Reducer], None],
        shared: SecondLevel = NOT_SHARED,
    ) -> None:
        self._store = store
        self._permits = permits
        self._on_made = on_made
        self._shared = shared
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")
        self._unwritten: SingleFlight[RankingKey, Ranking] = SingleFlight()
        self._latest: OrderedDict[RankingKey, Ranking] = OrderedDict()

    async def written(self) -> None:
        """Wait for pending writes."""
        await self._unwritten.written()

    async def close(self) -> None:
        await self.written()
        await asyncio.to_thread(self._thread.shutdown)

    async def find(self, job: EncodeJob) -> Ranking | None:
        """A ranking that is being computed, from the store, from memory, or from the second level."""
        return await self._unwritten.find(_key(job), partial(self._read_stored, job))

    def check_room(self, job: EncodeJob) -> None:
        """Raises RankingsBusy if too many images wait to be ranked and this image is not among them."""
        if _key(job) not in self._unwritten and len(self._unwritten) >= MAX_WAITING:
            raise RankingsBusy(len(self._unwritten), MAX_WAITING)

    async def make(self, job: EncodeJob, load_input: Callable[[], RankerInput]) -> Ranking:
        """Rank what `load_input` returns; it runs on the ranking thread. Raises RankingFailed."""
        rank = partial(self._rank, job.selection.reducer, load_input)
        ranking, _ = await self._unwritten.join(_key(job), rank, partial(self._write, job))
        return ranking

    def drop(self, matches: Callable[[RowKey], bool]) -> None:
        """Forget the rankings in memory whose row keys match."""
        for key in [key for key in self._latest if matches(key[0])]:
            del self._latest[key]

    async def _rank(self, reducer: Reducer, load_input: Callable[[], RankerInput]) -> Ranking:
        def rank() -> Ranking:
            return rankers.by_content(reducer, load_input())

        try:
            ranking = await asyncio.get_running_loop().run_in_executor(self._thread, rank)
        except Exception as error:
            log.warning("ranking_failed", reducer=reducer.value, exc_info=error)
            raise RankingFailed(reducer.name) from error
        self._on_made(reducer)
        return ranking

    async def _read_stored(self, job: EncodeJob) -> Ranking | None:
        name = _name(job.selection.reducer)
        data = await asyncio.to_thread(self._store.get_sidecar, job.key, name, job.fields)
        if data is None and (latest := self._latest.get(_key(job))) is not None:
            return latest  # that of another encoder may differ
        if data is None:
            data = await self._shared.sidecar(job.key, name, job.fields)
            if data is not None:
                await self._keep(job, name, bytes(data))
        return None if data is None else Ranking.unpack(data)

    async def _keep(self, job: EncodeJob, name: str, data: bytes) -> None:
        """Store what the second level had."""
        with self._permits.write(job.permit) as permitted:
            if permitted:
                await asyncio.to_thread(self._store.put_sidecar, job.key, name, job.fields, data)

    async def _write(self, job: EncodeJob, ranking: Ranking) -> None:
        name, data = _name(job.selection.reducer), ranking.pack()
        with self._permits.write(job.permit) as permitted:
            if not permitted:
                return
            # Encode must send what PlaceRows reported, even if the store evicts the ranking in between.
            self._latest[_key(job)] = ranking
            while len(self._latest) > MAX_LATEST:
                self._latest.popitem(last=False)
            self._shared.put_sidecar(job.permit, job.key, name, job.fields, data)
            await asyncio.to_thread(self._store.put_sidecar, job.key, name, job.fields, data)


def _key(job: EncodeJob) -> RankingKey:
    return job.key, job.selection.reducer


def _name(reducer: Reducer) -> str:
    return f"{reducer.value}.{RANKING_REVISION}"
