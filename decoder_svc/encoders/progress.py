"""Progress timeout of a call to a silent encoder.

An encoder may be silent because it is dead, because the call hangs, or because many images wait for its
tower. The first two time out after `limit_s`. The third shows in the encoder's count of completed images:
while that grows, a call that waits for the tower keeps waiting, up to LONGEST times the limit. Independent of
gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
CompletedCount = Callable[[], Awaitable[int | None]]
"""Reads the number of images an encoder has completed since its start; None if it does not answer."""

LONGEST = 10


class NoProgress(Exception):
    """No progress within the limit."""


@dataclass(frozen=True)
class ProgressTimeout:
    """The limit of a wait. Without a `completed` count it is never extended."""

    limit_s: float
    completed: CompletedCount | None = None

    async def wait(self, work: Awaitable[T]) -> T:
        """The result of `work`. Raises NoProgress; cancels `work` then, or if the caller is cancelled."""
        task = asyncio.ensure_future(work)
        try:
            await self._until_done(task)
            return await task
        finally:
            task.cancel()

    async def _until_done(self, task: asyncio.Future[T]) -> None:
        """Check twice per limit; two checks without progress make up the limit."""
        idle, last_count = 0, None
        for _ in range(2 * LONGEST):
            if (await asyncio.wait({task}, timeout=self.limit_s / 2))[0]:
                return
            count = await self.completed() if self.completed else None
            idle = 0 if last_count is not None and count is not None and count > last_count else idle + 1
            last_count = last_count if count is None else count
            if idle == 2:
                break
        raise NoProgress
