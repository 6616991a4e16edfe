"""Rows that the store is still copying, for whoever sends them in order: the first go out meanwhile.

The copy runs on a thread at its own pace and is never held up by a slow caller. Where a check fails after
some rows have gone out, the image is encoded again and the rest comes from there. Knows no LMDB and no RPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from encoder_svc.store.core import Grown, Rows
from encoder_svc.store.errors import StoreFailed
from fovea.rows import digest

Get = Callable[[Grown], Rows | None]


class Arriving:
    """Lives in one event loop. `again` computes the rows anew."""

    def __init__(self, again: Callable[[], Awaitable[Rows]]) -> None:
        self._again = again
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._copy: asyncio.Future[Rows | None] | None = None
        self.rows: Rows | None = None
        self._ready = 0
        self._digest = ""
        self._began = self._ended = time.perf_counter()

    async def begin(self, get: Get) -> Rows | None:
        """The rows, as soon as the first of them are there; None where there are none."""
        self._copy = asyncio.ensure_future(asyncio.to_thread(get, self._grown))
        self._copy.add_done_callback(self._copied)
        try:
            await self._moved.wait()
        except asyncio.CancelledError:
            self._copy.cancel()  # a copy that has not begun is for nobody
            raise
        if self.rows is None:
            self._note(await self._copy, 0)
        return self.rows

    async def upto(self, size: int) -> None:
        """Return once the first `size` bytes of the rows that `begin` gave may be sent. Raises what encoding
        raises.
        """
        if self.rows is not None:
            await self._reach(self.rows, size)

    async def whole(self) -> tuple[str, float]:
        """The digest of all rows that were sent, and the milliseconds that it took to have them."""
        if self.rows is not None:
            await self._reach(self.rows, self.rows.data.nbytes)
        return self._digest, 1000 * (self._ended - self._began)

    async def _reach(self, rows: Rows, size: int) -> None:
        while self._ready < size and self._copy is not None:
            if not self._copy.done():
                self._moved.clear()
                await self._moved.wait()
            elif self._copy.result() is None:
                await self._mend(rows)
            else:
                self._ready = rows.data.nbytes

    async def _mend(self, rows: Rows) -> None:
        """Both halves are right, but a tower need not round alike in other company. StoreFailed where the new
        rows stand in other places: what has gone out cannot be taken back.
        """
        fresh = await self._again()
        if (fresh.kept, fresh.grid_thw, fresh.count) != (rows.kept, rows.grid_thw, rows.count):
            raise StoreFailed("the stored rows are damaged, and the image has others now: ask again")
        rows.data[self._ready :] = fresh.data[self._ready :]
        self._digest = await asyncio.to_thread(digest, rows.data)
        self._ready, self._ended = rows.data.nbytes, time.perf_counter()

    def _copied(self, copy: asyncio.Future[Rows | None]) -> None:
        self._ended = time.perf_counter()
        if not copy.cancelled():
            copy.exception()  # seen: the caller may have left
        self._moved.set()

    def _grown(self, rows: Rows, ready: int) -> None:
        self._loop.call_soon_threadsafe(self._note, rows, ready)

    def _note(self, rows: Rows | None, ready: int) -> None:
        if self.rows is None and rows is not None:
            self.rows, self._digest = rows, rows.digest
        self._ready = ready
        self._moved.set()
