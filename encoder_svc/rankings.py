"""The orders of rows: from the store, or made once however many ask, on a thread of their own.

Until a new order is written it is found here, so that a call that comes meanwhile does not run the tower for
it. Knows reducers and the store; what was seen of an image it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from encoder_svc.core import Asked
from encoder_svc.reduction import rankers
from encoder_svc.reduction.errors import RankingFailed
from encoder_svc.reduction.rankers import Seen
from encoder_svc.reduction.ranking import RANKING_REVISION, Ranking
from encoder_svc.store.keys import RowKey
from encoder_svc.store.store import Store
from fovea.plan import Reducer

log = structlog.get_logger()


class Rankings:
    """Lives in one event loop. `on_made` hears of each order that was computed."""

    def __init__(self, store: Store) -> None:
        self.on_made: Callable[[Reducer], None] = lambda reducer: None
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")
        self._unwritten: dict[tuple[RowKey, Reducer], asyncio.Task[Ranking]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def written(self) -> None:
        """Wait for orders that are being written."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def close(self) -> None:
        await self.written()
        await asyncio.to_thread(self._thread.shutdown)

    async def find(self, asked: Asked) -> Ranking | None:
        """One that is being made, or from the store; looked at again after the wait for the store."""
        making = asked.key, asked.choice.reducer
        if making not in self._unwritten:
            name = _name(asked.choice.reducer)
            data = await asyncio.to_thread(self._store.get_sidecar, asked.key, name, asked.fields)
            ranking = None if data is None else Ranking.unpack(data)
            if ranking is not None:
                return ranking
        unwritten = self._unwritten.get(making)
        return None if unwritten is None else await asyncio.shield(unwritten)

    def make(self, asked: Asked, see: Callable[[], Seen]) -> asyncio.Task[Ranking]:
        """An order of what `see` shows, which is called on the thread. Fails with RankingFailed."""
        making = asked.key, asked.choice.reducer
        made = self._unwritten.get(making)
        if made is None:
            made = self._unwritten[making] = asyncio.create_task(self._made(asked.choice.reducer, see))
            write = asyncio.create_task(self._write(asked, made))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        return made

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

    async def _write(self, asked: Asked, made: asyncio.Task[Ranking]) -> None:
        """A put that is skipped costs a later ranking and nothing else; a failure reaches those who asked."""
        reducer = asked.choice.reducer
        try:
            await asyncio.wait([made])
            if not made.cancelled() and made.exception() is None:
                data = made.result().pack()
                await asyncio.to_thread(
                    self._store.put_sidecar, asked.key, _name(reducer), asked.fields, data
                )
        finally:
            del self._unwritten[asked.key, reducer]


def _name(reducer: Reducer) -> str:
    return f"{reducer.value}.{RANKING_REVISION}"
