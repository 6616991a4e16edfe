"""How long a call waits for an encoder that says nothing.

An encoder may be silent because it is dead, because one call of it hangs, or because many images wait for its
tower. The first two are given up after `limit_s`. The third is told from them by the encoder's own count of
completed images: as long as that grows, a call that waits for the tower goes on waiting, up to LONGEST times
the limit. Independent of gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Pulse = Callable[[], Awaitable[int | None]]
"""How many images an encoder has completed since its start; None where it does not answer."""

LONGEST = 10


class Silent(Exception):
    """Nothing came within the limit."""


@dataclass(frozen=True)
class Patience:
    """The limit of one kind of wait. Without a `pulse` nothing extends it."""

    limit_s: float
    pulse: Pulse | None = None

    async def wait(self, work: Awaitable[T]) -> T:
        """What `work` gives. Raises Silent; `work` is cancelled then, and where the caller leaves."""
        task = asyncio.ensure_future(work)
        try:
            await self._until_done(task)
            return await task
        finally:
            task.cancel()

    async def _until_done(self, task: asyncio.Future[T]) -> None:
        """Looks twice a limit, so that two looks without progress are one limit."""
        idle, seen = 0, None
        for _ in range(2 * LONGEST):
            if (await asyncio.wait({task}, timeout=self.limit_s / 2))[0]:
                return
            count = await self.pulse() if self.pulse else None
            idle = 0 if seen is not None and count is not None and count > seen else idle + 1
            seen = seen if count is None else count
            if idle == 2:
                break
        raise Silent
