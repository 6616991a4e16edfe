"""Progress timeout of a call to an encoder that does not answer yet.

The encoder may be dead, the call may hang, or many images may wait for its tower. A dead encoder gives no
sign of life either: DEAD_CHECKS in a row that are not answered end the wait; if another encoder can replace it,
a single prompt check does, because a wrong verdict then costs little. A call that hangs ends after
`limit_s`. A long queue shows in the encoder's count of completed images: while that grows, a call that waits
for the tower keeps waiting, up to LONGEST times the limit. Independent of gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
CompletedCount = Callable[[], Awaitable[int | None]]
"""Reads the number of images an encoder has completed since its start; None if it does not answer."""

CHECK_S = 1.0
DEAD_CHECKS = 2
PROMPT_S = 0.25
"""Until a check, and for its answer, if another encoder can replace this one."""
LONGEST = 10


class NoProgress(Exception):
    """No progress within the limit, or no sign of life."""


@dataclass(frozen=True)
class ProgressTimeout:
    """The limit of a wait. With `queues` the limit starts anew whenever the encoder completes an image.

    `replaceable` tells whether another encoder can serve the call.
    """

    limit_s: float
    completed: CompletedCount
    queues: bool = False
    replaceable: Callable[[], bool] = lambda: False

    async def wait(self, work: Awaitable[T]) -> T:
        """The result of `work`. Raises NoProgress; cancels `work` then, or if the caller is cancelled."""
        task = asyncio.ensure_future(work)
        try:
            await self._until_done(task)
            return await task
        finally:
            task.cancel()

    async def _until_done(self, task: asyncio.Future[T]) -> None:
        began = progressed = time.monotonic()
        unanswered, last_count = 0, None
        check_s = min(CHECK_S, self.limit_s / 2)
        while not (await asyncio.wait({task}, timeout=PROMPT_S if self.replaceable() else check_s))[0]:
            count = await self._count()
            unanswered = unanswered + 1 if count is None else 0
            if count is not None:
                if self.queues and last_count is not None and count > last_count:
                    progressed = time.monotonic()
                last_count = count
            now = time.monotonic()
            late = now - progressed >= self.limit_s or now - began >= LONGEST * self.limit_s
            dead = unanswered >= (1 if self.replaceable() else DEAD_CHECKS)
            if (dead or late) and not task.done():
                raise NoProgress

    async def _count(self) -> int | None:
        if not self.replaceable():
            return await self.completed()
        try:
            return await asyncio.wait_for(self.completed(), PROMPT_S)
        except TimeoutError:
            return None
