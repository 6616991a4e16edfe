"""Single flight: concurrent callers of a key share a computation, and its result is kept until it is written.

A caller that comes after the computation but before the end of the write gets the result from memory.
Independent of what is computed and where it is written. Confined to an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(eq=False)
class _Flight(Generic[T]):
    """`may_stop` says whether the computation may be cancelled once it has no callers."""

    computation: asyncio.Task[T]
    may_stop: Callable[[], bool]
    callers: int = 0
    delivered: bool = False

    @property
    def failed(self) -> bool:
        task = self.computation
        return task.done() and (task.cancelled() or task.exception() is not None)


class SingleFlight(Generic[K, T]):
    """Computations by key, each present from its start until its result is written."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def join(
        self,
        key: K,
        compute: Callable[[], Coroutine[Any, Any, T]],
        write: Callable[[T], Awaitable[None]],
        may_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[T, bool]:
        """The result for `key`, and whether this caller is the first to receive it.

        Joins the running computation, or starts it before the first await. Its error reaches all callers, and
        nothing is written then. A cancelled caller leaves the computation to the others. When the last caller
        leaves, the computation is cancelled if its `may_stop` allows it.
        """
        flight = self._flights.get(key)
        if flight is None or flight.failed:
            flight = self._flights[key] = _Flight(asyncio.create_task(compute()), may_stop)
            write_task = asyncio.create_task(self._write(key, flight, write))
            self._writes.add(write_task)
            write_task.add_done_callback(self._writes.discard)
        result = await self._wait(key, flight)
        first, flight.delivered = not flight.delivered, True
        return result, first

    async def find(self, key: K, read: Callable[[], Awaitable[T | None]]) -> T | None:
        """The result of a computation that is not written yet, or what `read` returns from the store. Looks
        for a computation again after a miss: it may have started during the read.
        """
        if key not in self._flights:
            stored = await read()
            if stored is not None:
                return stored
        flight = self._flights.get(key)
        return None if flight is None else await self._wait(key, flight)

    def unwritten(self, key: K) -> T | None:
        """The result for `key` if it is computed and not written yet."""
        flight = self._flights.get(key)
        if flight is None or flight.failed or not flight.computation.done():
            return None
        return flight.computation.result()

    async def written(self) -> None:
        """Wait for pending writes."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _wait(self, key: K, flight: _Flight[T]) -> T:
        flight.callers += 1
        try:
            return await asyncio.shield(flight.computation)
        finally:
            flight.callers -= 1
            if not flight.callers and not flight.computation.done() and flight.may_stop():
                flight.computation.cancel()
                self._forget(key, flight)

    async def _write(self, key: K, flight: _Flight[T], write: Callable[[T], Awaitable[None]]) -> None:
        try:
            await asyncio.wait([flight.computation])
            if not flight.failed:
                await write(flight.computation.result())
        finally:
            self._forget(key, flight)

    def _forget(self, key: K, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
