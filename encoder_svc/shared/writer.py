"""Writes records to the second level behind the calls that computed them.

The queue is bounded in bytes; records that find it full are dropped and counted. A record waits with the
write permit of its job: a deletion revokes it, and waits for the write that has begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from encoder_svc.permits import WritePermit, WritePermits
from encoder_svc.shared.keys import Kind

log = structlog.get_logger()
RECORD_BYTES = 1024
"""What a record takes in the queue beside its payload."""
CLOSE_S = 5.0
"""How long the end of the process waits for the queue."""


@dataclass(frozen=True, eq=False)
class QueuedRecord:
    """A record to be written, for at most `ttl_s` seconds; 0 is no bound. With `if_missing` it is not written
    where there is one already.
    """

    permit: WritePermit
    kind: Kind
    raw: bytes
    facts: bytes
    data: memoryview
    ttl_s: int
    if_missing: bool = False

    @property
    def size(self) -> int:
        return len(self.facts) + self.data.nbytes + RECORD_BYTES


Write = Callable[[QueuedRecord], Awaitable[None]]
"""Writes a record. Must not raise: what fails is its business."""


class SharedWriter:
    """A bounded queue, and the task that empties it. Lives in a single event loop."""

    def __init__(self, write: Write, permits: WritePermits, capacity_bytes: int) -> None:
        self.waiting_bytes = 0
        self._write = write
        self._permits = permits
        self._capacity_bytes = capacity_bytes
        self._queue: deque[QueuedRecord] = deque()
        self._added = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._full = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def add(self, record: QueuedRecord) -> bool:
        """Queue a record. False if it does not fit; the first of several is logged."""
        if self.waiting_bytes + record.size > self._capacity_bytes:
            if not self._full:
                log.warning("shared_cache_queue_full", waiting_bytes=self.waiting_bytes)
            self._full = True
            return False
        self._full = False
        self._queue.append(record)
        self.waiting_bytes += record.size
        self._empty.clear()
        self._added.set()
        return True

    async def written(self) -> None:
        """Wait until the queue is empty."""
        await self._empty.wait()

    async def close(self) -> None:
        """Write what waits, for at most CLOSE_S; the rest is lost."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.written()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._queue:
            log.warning("shared_cache_writes_lost", records=len(self._queue))

    async def _run(self) -> None:
        while True:
            await self._added.wait()
            while self._queue:
                await self._write_first()
            self._added.clear()
            self._empty.set()

    async def _write_first(self) -> None:
        """A record counts as waiting until it is written."""
        record = self._queue[0]
        try:
            with self._permits.write(record.permit) as permitted:
                if permitted:
                    await self._write(record)
        finally:
            self._queue.popleft()
            self.waiting_bytes -= record.size
