"""Decodes images in worker processes with limits of CPU time and memory, one image at a time each.

A worker is killed when the caller leaves, and replaced when it dies. A death that no limit explains is
followed by a second attempt with a new worker: an operator or the kernel may have killed the first, or an
earlier image may have damaged it. For a single event loop.
"""

from __future__ import annotations

from dataclasses import asdict

from encoder_svc.errors import DecodingUnavailable
from encoder_svc.images.decode import Pixels
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.refused import LIMITED, RefusedImages
from encoder_svc.images.replies import FactsReply, PixelsReply, Reply, Value
from encoder_svc.images.turns import WorkerTurns
from encoder_svc.store.keys import UploadKey
from fovea.contract.image import ImageFacts
from fovea.nursery.frames import FrameInvalid
from fovea.nursery.limits import ChildLimits
from fovea.nursery.process import Child, ChildDied, NurseryProcess

WORKER = "encoder_svc.images.worker"
_NO_REPLY = 0
"""The status of a worker that sent something else than a reply."""


class Decoder:
    """Runs up to `workers` workers. Callers beyond that wait for their tenant's turn."""

    def __init__(
        self,
        limits: ImageLimits,
        child: ChildLimits,
        workers: int = 2,
        module: str = WORKER,
        several_tenants: bool = False,
    ) -> None:
        self._limits = limits
        self._nursery = NurseryProcess(module, asdict(limits), child)
        self._nursery.start()
        self._idle: list[Child] = []
        self._turns = WorkerTurns(workers, several_tenants)
        self._refused = RefusedImages(child)
        self._closed = False

    @property
    def nursery_pid(self) -> int | None:
        return self._nursery.pid

    async def facts(self, key: UploadKey, data: bytes | memoryview) -> ImageFacts:
        """Decode the image completely and measure it.

        Raises a subclass of ImageInvalid, AspectTooExtreme, or DecodingUnavailable.
        """
        return await self._decoded(
            key, data, FactsReply(f"sha256:{key.image.hex()}", len(data), self._limits)
        )

    async def pixels(self, key: UploadKey, data: bytes | memoryview) -> Pixels:
        """The pixels of an image whose facts are known. Raises like `facts` if it is damaged since."""
        return await self._decoded(key, data, PixelsReply(self._limits))

    def close(self) -> None:
        """Kill all workers. Waits for nothing."""
        self._closed = True
        for child in self._idle:
            child.close()
        self._nursery.close()

    async def _decoded(self, key: UploadKey, data: bytes | memoryview, reply: Reply[Value]) -> Value:
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
                raise DecodingUnavailable
            try:
                return await self._turn(data, reply)
            except ChildDied as died:
                if died.status is None and last:
                    raise DecodingUnavailable from died
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
