"""Runs work on images in worker processes with limits of CPU time and memory, an image at a time each.

A worker is killed when the caller leaves, and replaced when it dies. A death that no limit explains is
followed by a second attempt with a new worker: an operator or the kernel may have killed the first, or an
earlier image may have damaged it. For a single event loop.
"""

from __future__ import annotations

from encoder_svc.errors import DecodingUnavailable, ReadingUnavailable
from encoder_svc.images.refused import LIMITED, RefusedImages
from encoder_svc.images.replies import Reply, Value
from encoder_svc.images.turns import WorkerTurns
from encoder_svc.store.keys import UploadKey
from fovea.nursery.frames import FrameInvalid
from fovea.nursery.process import Child, ChildDied, NurseryProcess

_NO_REPLY = 0
"""The status of a worker that sent something else than a reply."""


Unavailable = type[DecodingUnavailable] | type[ReadingUnavailable]


class WorkerPool:
    """Runs workers of a nursery, as many as there are `turns`.

    `unavailable` is raised if the nursery has died twice, or is closed.
    """

    def __init__(
        self, nursery: NurseryProcess, turns: WorkerTurns, refused: RefusedImages, unavailable: Unavailable
    ) -> None:
        self._nursery = nursery
        self._idle: list[Child] = []
        self._turns = turns
        self._refused = refused
        self._unavailable = unavailable
        self._closed = False

    @property
    def nursery_pid(self) -> int | None:
        return self._nursery.pid

    def close(self) -> None:
        """Kill all workers. Waits for nothing."""
        self._closed = True
        for child in self._idle:
            child.close()
        self._nursery.close()

    async def run(self, key: UploadKey, data: bytes | memoryview, reply: Reply[Value]) -> Value:
        """The reply of a worker about the image. Raises what the reply raises, and the error of an image that
        ends workers.
        """
        async with self._turns.turn(key.tenant.hex(), len(data)):
            try:
                return await self._attempted(key, data, reply)
            except ChildDied:  # the nursery died, with all of its children
                return await self._attempted(key, data, reply, last=True)

    async def _attempted(
        self, key: UploadKey, data: bytes | memoryview, reply: Reply[Value], last: bool = False
    ) -> Value:
        """Try until a worker replies or the image is refused. Raises ChildDied if the nursery died."""
        while True:
            self._refused.check(key)
            if self._closed:
                raise self._unavailable()
            try:
                return await self._turn(data, reply)
            except ChildDied as died:
                if died.status is None and last:
                    raise self._unavailable() from died
                if died.status is None:
                    raise
                status = died.status
            except FrameInvalid:
                status = _NO_REPLY
            self._refused.record(key, status)
            if status in LIMITED:
                raise self._refused.error(key)

    async def _turn(self, data: bytes | memoryview, reply: Reply[Value]) -> Value:
        worker = self._worker()
        header = await worker.ask({"task": reply.task}, data, reply.receive)
        try:
            return reply.value(header)
        finally:
            if header.get("last") is False and not self._closed:
                self._idle.append(worker)
            else:
                worker.close()

    def _worker(self) -> Child:
        """The worker that was used last, because its memory is warm, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.close()
        return self._nursery.child()
