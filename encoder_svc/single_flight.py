"""Single flight: concurrent callers of a key share a computation, and its result is kept until it is written.

A caller that comes after the computation but before the end of the write gets the result from memory.
Independent of what is computed and where it is written. Confined to an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Computations by key, each present from its start until its result is written."""

    def __init__(self) -> None:
        self._computations: dict[K, asyncio.Task[T]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._computations)

    def __contains__(self, key: K) -> bool:
        return key in self._computations

    def join(
        self, key: K, compute: Callable[[], Coroutine[Any, Any, T]], write: Callable[[T], Awaitable[None]]
    ) -> asyncio.Task[T]:
        """The computation of `key`, started if there is none. Await it with `asyncio.shield`, because other
        callers may share it. Its errors reach all of them, and nothing is written then.
        """
        computation = self._computations.get(key)
        if computation is None:
            computation = self._computations[key] = asyncio.create_task(compute())
            write_task = asyncio.create_task(self._write(key, computation, write))
            self._writes.add(write_task)
            write_task.add_done_callback(self._writes.discard)
        return computation

    async def find(self, key: K, read: Callable[[], Awaitable[T | None]]) -> T | None:
        """The result of a computation that is not written yet, or what `read` returns from the store. Looks
        for a computation again after a miss: it may have started during the read.
        """
        if key not in self._computations:
            stored = await read()
            if stored is not None:
                return stored
        computation = self._computations.get(key)
        return None if computation is None else await asyncio.shield(computation)

    async def written(self) -> None:
        """Wait for pending writes."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _write(
        self, key: K, computation: asyncio.Task[T], write: Callable[[T], Awaitable[None]]
    ) -> None:
        try:
            await asyncio.wait([computation])
            if not computation.cancelled() and computation.exception() is None:
                await write(computation.result())
        finally:
            del self._computations[key]
