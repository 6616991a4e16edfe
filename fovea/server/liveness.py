"""Whether the model computes: real work that proceeds is the proof; without any, a dummy must end in time.

A process can answer health checks while its model hangs: a kernel that never returns, a device that is lost.
Its supervisor should then restart it. Independent of gRPC and of models.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from fovea.contract.errors import FoveaError

RETRY_S = 1.0
"""Between two attempts at a dummy that the service refuses or fails."""
log = structlog.get_logger()


def together(count: int, report: Callable[[bool], object]) -> list[Callable[[bool], object]]:
    """A report for each of several checks; `report` hears whether all of their models compute."""
    alive = [True] * count

    def note(number: int, value: bool) -> None:
        alive[number] = value
        report(all(alive))

    return [partial(note, number) for number in range(count)]


class Liveness:
    """Calls `report` after every check with whether the model computes.

    `progress` counts real work and may count dummies. `dummy` runs the smallest work through the same queue
    as real work. At most one dummy is pending: a dummy that hangs is kept, because its end proves recovery.
    """

    def __init__(
        self,
        progress: Callable[[], int],
        dummy: Callable[[], Awaitable[object]],
        interval_s: float,
        limit_s: float,
        report: Callable[[bool], object],
    ) -> None:
        self._progress = progress
        self._dummy = dummy
        self._interval_s = interval_s
        self._limit_s = limit_s
        self._report = report
        self._seen = progress()
        self._pending: asyncio.Task[object] | None = None
        self._alive = True

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Check every `interval_s` until the block is left. An interval of 0 turns the checks off."""
        checks = asyncio.create_task(self._run()) if self._interval_s else None
        try:
            yield
        finally:
            for task in filter(None, (checks, self._pending)):
                task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self.check()

    async def check(self) -> bool:
        """Whether work was done since the last check, or is done within `limit_s`."""
        alive = self._advanced() or await self._dummy_ends() or self._advanced()
        if alive is not self._alive:
            log.info("alive again") if alive else log.error("model hangs", limit_s=self._limit_s)
        self._alive = alive
        self._report(alive)
        return alive

    def _advanced(self) -> bool:
        before, self._seen = self._seen, self._progress()
        return self._seen != before

    async def _dummy_ends(self) -> bool:
        if self._pending is None or self._pending.done():  # an earlier end proves nothing now
            self._pending = asyncio.ensure_future(self._attempts())
        done, _ = await asyncio.wait({self._pending}, timeout=self._limit_s)
        if not done or self._pending.exception() is not None:
            return False
        self._seen = self._progress()  # the dummy is no real work
        return True

    async def _attempts(self) -> object:
        """Run a dummy. A full queue refuses it, so it is tried again."""
        while True:
            try:
                return await self._dummy()
            except FoveaError as error:
                log.warning("dummy failed", reason=error.reason)
                await asyncio.sleep(RETRY_S)
