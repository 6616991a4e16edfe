"""Tenants take turns at the decode workers, by the bytes of their images.

With several tenants, a tenant never has every worker: images that take all of their CPU time would otherwise
keep the images of others waiting for seconds. For a single event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fovea.server.fair_queue import FairQueue, QueueLimits, Waiter

LEAST_COST = 64 * 1024
"""Bytes that a smaller image counts as: it takes a worker all the same."""
_ALIKE_S = 1.0


@dataclass(eq=False, kw_only=True)
class _Turn(Waiter):
    """`begun` is done once a worker is free for it."""

    deadline: float = _ALIKE_S  # one class of deadlines, so that a tenant's images wait in order
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WorkerTurns:
    def __init__(self, workers: int, several_tenants: bool) -> None:
        self._free = workers
        self._tenant_limit = max(1, workers - 1) if several_tenants else workers
        self._running: Counter[str] = Counter()
        self._queue: FairQueue[_Turn] = FairQueue(QueueLimits(calls=0))

    @asynccontextmanager
    async def turn(self, tenant: str, cost: int) -> AsyncIterator[None]:
        """Hold a worker of the tenant, as soon as it is the tenant's turn."""
        turn = _Turn(tenant=tenant, cost=max(LEAST_COST, cost))
        self._queue.add(turn)
        self._update()
        try:
            await turn.begun
            yield
        finally:
            if turn.line is None:
                self._free += 1
                self._running -= Counter((tenant,))  # which also drops tenants that hold nothing
            self._queue.remove(turn)
            self._update()

    def _update(self) -> None:
        while self._free and (turn := self._queue.take(self._may_begin)) is not None:
            self._free -= 1
            self._running[turn.tenant] += 1
            if not turn.begun.done():  # a caller that has just left cancelled it
                turn.begun.set_result(None)

    def _may_begin(self, tenant: str) -> bool:
        return self._running[tenant] < self._tenant_limit
