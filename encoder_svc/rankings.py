"""The orders of rows: from the store, or made once however many ask, on a thread of their own.

Until a new order is written it is found here, so that a call that comes meanwhile does not run the tower for
it. The last few that the store did not keep stay in memory: what PlaceRows told is what Encode sends, though
the tower may give an image other last bits in other company. Knows reducers and the store; what was seen of
an image it is told.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import structlog

from encoder_svc.core import EncodeJob
from encoder_svc.errors import RankingsBusy
from encoder_svc.reduction import rankers
from encoder_svc.reduction.errors import RankingFailed
from encoder_svc.reduction.rankers import Seen
from encoder_svc.reduction.ranking import RANKING_REVISION, Ranking
from encoder_svc.store.keys import RowKey
from encoder_svc.store.store import Store
from fovea.contract.plan import Reducer

log = structlog.get_logger()

# Orders in memory: one of 1,280 rows takes 10 KiB.
SPARE = 64
# Each holds the rows of an image until its turn.
MOST_WAITING = 64
Making: TypeAlias = tuple[RowKey, Reducer]


class Rankings:
    """Lives in one event loop. `on_made` hears of each order that was computed."""

    def __init__(self, store: Store) -> None:
        self.on_made: Callable[[Reducer], None] = lambda reducer: None
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")
        self._unwritten: dict[Making, asyncio.Task[Ranking]] = {}
        self._spare: OrderedDict[Making, Ranking] = OrderedDict()
        self._writes: set[asyncio.Task[None]] = set()

    async def written(self) -> None:
        """Wait for orders that are being written."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def close(self) -> None:
        await self.written()
        await asyncio.to_thread(self._thread.shutdown)

    async def find(self, asked: EncodeJob) -> Ranking | None:
        """One that is being made, or from the store; looked at again after the wait for the store."""
        making = asked.key, asked.choice.reducer
        if making not in self._unwritten:
            name = _name(asked.choice.reducer)
            data = await asyncio.to_thread(self._store.get_sidecar, asked.key, name, asked.fields)
            ranking = None if data is None else Ranking.unpack(data)
            if ranking is not None:
                return ranking
        unwritten = self._unwritten.get(making)
        return self._spare.get(making) if unwritten is None else await asyncio.shield(unwritten)

    def check_room(self, asked: EncodeJob) -> None:
        """Raises RankingsBusy where too many images wait to be ranked, and this one does not yet."""
        if (asked.key, asked.choice.reducer) not in self._unwritten and len(self._unwritten) >= MOST_WAITING:
            raise RankingsBusy(len(self._unwritten), MOST_WAITING)

    def make(self, asked: EncodeJob, see: Callable[[], Seen]) -> asyncio.Task[Ranking]:
        """An order of what `see` shows, which is called on the thread. Fails with RankingFailed."""
        making = asked.key, asked.choice.reducer
        made = self._unwritten.get(making)
        if made is None:
            made = self._unwritten[making] = asyncio.create_task(self._made(asked.choice.reducer, see))
            write = asyncio.create_task(self._write(asked, made))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        return made

    def drop(self, tenant: bytes, pixels: bytes) -> None:
        """Forget those of an image that are in memory alone."""
        for making in [m for m in self._spare if (m[0].tenant, m[0].pixels) == (tenant, pixels)]:
            del self._spare[making]

    async def _made(self, reducer: Reducer, see: Callable[[], Seen]) -> Ranking:
        def rank() -> Ranking:
            return rankers.by_content(reducer, see())

        try:
            ranking = await asyncio.get_running_loop().run_in_executor(self._thread, rank)
        except Exception as error:
            log.warning("ranking_failed", reducer=reducer.value, exc_info=error)
            raise RankingFailed(reducer.name) from error
        self.on_made(reducer)
        return ranking

    async def _write(self, asked: EncodeJob, made: asyncio.Task[Ranking]) -> None:
        """What failed reaches those who asked."""
        making = asked.key, asked.choice.reducer
        try:
            await asyncio.wait([made])
            if not made.cancelled() and made.exception() is None:
                await self._put(asked, made.result())
        finally:
            del self._unwritten[making]

    async def _put(self, asked: EncodeJob, ranking: Ranking) -> None:
        name, data = _name(asked.choice.reducer), ranking.pack()
        # In memory too: what PlaceRows told is what Encode sends, whatever the store lets go in between.
        self._spare[asked.key, asked.choice.reducer] = ranking
        while len(self._spare) > SPARE:
            self._spare.popitem(last=False)
        await asyncio.to_thread(self._store.put_sidecar, asked.key, name, asked.fields, data)


def _name(reducer: Reducer) -> str:
    return f"{reducer.value}.{RANKING_REVISION}"
