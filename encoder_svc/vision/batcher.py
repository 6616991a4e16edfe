"""Batches the images of concurrent calls into packed tower calls.

Images wait in a fair queue until there is room for their patches. They are refused at once if they would wait
too long, and leave as soon as they can no longer be computed in time. They are prepared in parallel with the
tower, which runs on its own thread. A batch holds at most `max_batch_patches`. It waits only while images are
being prepared, and never longer than `max_wait_s`.
Independent of torch, the store and keys: the tower is a function, and the caller supplies how its image is
prepared. Callers of the same image share a call of `encode`, see `single_flight`.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

import structlog

from encoder_svc.errors import EncodeFailed, TowerFailed
from encoder_svc.vision.output import Encoded, TowerOutput
from encoder_svc.vision.patch_limiter import PatchLimiter
from encoder_svc.vision.preprocess import Patches
from encoder_svc.vision.queued_image import QueuedImage
from fovea.contract.errors import DeadlineUnreachable, EncoderBusy, FoveaError
from fovea.rate import Rate
from fovea.server.fair_queue import FairQueue, QueueLimits
from fovea.server.guards import TenantQuota

_turn = attrgetter("number")
MAX_PREPARED_PATCHES = 49_152
# The tower: images, and whether their saliency is needed.
Compute = Callable[[Sequence[Patches], bool], list[TowerOutput]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BatchLimits:
    """An image larger than `max_batch_patches` is computed alone. A prepared patch takes 6 KiB."""

    max_batch_patches: int = 16_384
    max_prepared_patches: int = MAX_PREPARED_PATCHES
    max_queue: int = 64
    max_wait_s: float = 0.003
    default_deadline_s: float = 600.0
    max_wait_share: float = 0.5
    max_tenant_images: int = 0
    several_tenants: bool = False

    @property
    def queue(self) -> QueueLimits:
        return QueueLimits(
            self.max_queue,
            default_deadline_s=self.default_deadline_s,
            wait_share=self.max_wait_share,
            several_tenants=self.several_tenants,
            names=("max_queue", "patches"),
        )


@dataclass(frozen=True)
class TowerLoad:
    """Images that wait for the tower, images in the tower, and images encoded since the start."""

    waiting: int = 0
    running: int = 0
    encodes: int = 0


MAX_TENANTS = 1024
OTHERS = ""
"""Counts the tenants that came before the last MAX_TENANTS together."""


class Batcher:
    """Start it on the loop that calls it. `healthy` turns false for good when the tower fails.

    `encodes` counts the images that the tower has computed, by tenant; `batches` its calls.
    """

    def __init__(self, compute: Compute, limits: BatchLimits | None = None) -> None:
        self.limits = limits or BatchLimits()
        self.encodes: Counter[str] = Counter()
        self.batches = 0
        self._compute = compute
        self._images: set[QueuedImage] = set()
        self._ready: deque[QueuedImage] = deque()  # oldest first
        self._changed = asyncio.Event()
        self._queue: FairQueue[QueuedImage] = FairQueue(self.limits.queue)
        self._numbers = itertools.count(1)
        self._late: asyncio.TimerHandle | None = None
        self._rate = Rate()  # of the tower, by patches
        self._quota = TenantQuota("max_tenant_images", self.limits.max_tenant_images)
        self._limiter = PatchLimiter(self.limits.max_prepared_patches)
        self._preparing: list[QueuedImage] = []
        self._tower = ThreadPoolExecutor(1, thread_name_prefix="tower")
        self._loop_task: asyncio.Task[None] | None = None
        self._ended = False
        self._failed = asyncio.Event()

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._serve(), name="batcher")

    async def close(self) -> None:
        """Stop: await a running tower call; other waiters get TowerFailed."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop_task
        self._end()
        await asyncio.to_thread(self._tower.shutdown)

    @property
    def healthy(self) -> bool:
        return self._loop_task is not None and not self._ended

    async def died(self) -> TowerFailed:
        """Wait until the tower has failed for good."""
        await self._failed.wait()
        return TowerFailed()

    @property
    def waiting(self) -> int:
        """Count of images that wait for the tower."""
        return sum(not image.begun for image in self._images)

    @property
    def running(self) -> int:
        """Count of images in the tower."""
        return len(self._images) - self.waiting

    def load(self, tenant: str | None = None) -> TowerLoad:
        """The load of a tenant's images, or of all."""
        real = [image for image in self._images if not image.dummy]
        images = [image for image in real if tenant in (None, image.tenant)]
        running = sum(image.begun for image in images)
        encodes = self.encodes.total() if tenant is None else self.encodes[tenant]
        return TowerLoad(len(images) - running, running, encodes)

    async def encode(self, image: QueuedImage) -> Encoded:
        """The rows of an image. Cancelling the call withdraws an image that has not reached the tower.

        Raises EncoderBusy or TenantBusy at once, DeadlineUnreachable as soon as it applies, EncodeFailed if
        the tower cannot compute this image, TowerFailed if it computes none any more, and what preparing the
        image raises.
        """
        if not self.healthy:
            raise TowerFailed
        with self._quota.held(image.tenant, int(not image.dummy)):
            self._enter(image)
            try:
                return await image.result
            finally:
                self._images.discard(image)
                self._queue.remove(image)
                if image.preparation is not None:
                    image.preparation.cancel()
                self._update()

    def _enter(self, image: QueuedImage) -> None:
        """Queue the image. Raises EncoderBusy. A dummy is prepared already and takes no room."""
        if image.dummy:
            self._images.add(image)
            self._start_preparing(image)
            return
        image.arrived = time.monotonic()
        image.deadline = min(image.deadline, image.arrived + self.limits.default_deadline_s)
        image.seconds = self._rate.seconds(image.patches)
        held = self._limiter.held
        outside = self.load().waiting - len(self._queue)
        refusal = self._queue.refusal(image, self._rate.seconds(held), 1, outside)
        idle = not held and not len(self._queue)
        if refusal is not None and (not idle or refusal.field == self.limits.queue.names[0]):
            raise EncoderBusy(*refusal)
        self._images.add(image)
        if idle and self._limiter.acquire(image.patches):
            self._start_preparing(image)  # whatever its estimate, so that a wrong estimate cannot last
        else:
            self._queue.add(image)
            self._update()

    def _update(self) -> None:
        """Drop images that would be late, prepare those that have room, and wake up when the next is late."""
        now = time.monotonic()
        for late_image in self._queue.drop_late(now):
            self._drop(late_image, now)
        while (image := self._queue.peek()) is not None and self._limiter.acquire(image.patches):
            self._queue.take()
            self._start_preparing(image)
        if self._late is not None:
            self._late.cancel()
            self._late = None
        late = self._queue.next_late()
        if late is not None:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(max(0.0, late - now), self._update)

    def _start_preparing(self, image: QueuedImage) -> None:
        image.number = next(self._numbers)
        loop = asyncio.get_running_loop()
        image.preparation = loop.create_task(self._prepare(image), context=image.context)
        image.preparation.add_done_callback(lambda _: self._end_preparation(image))

    def _drop(self, image: QueuedImage, now: float) -> None:
        wait_s = round(max(1.0, self._rate.seconds(self._limiter.held)), 1)
        image.fail(DeadlineUnreachable(image.seconds, image.deadline - now, wait_s))

    async def _prepare(self, image: QueuedImage) -> None:
        self._preparing.append(image)
        try:
            image.prepared = await image.prepare()
            bisect.insort(self._ready, image, key=_turn)
        except Exception as error:
            image.fail(error)
        finally:
            self._preparing.remove(image)

    def _end_preparation(self, image: QueuedImage) -> None:
        """Not a part of `_prepare`, which does not run at all if it is cancelled before its first step."""
        if image.prepared is None:
            self._limiter.release(image.patches)
            self._update()
        self._changed.set()

    async def _serve(self) -> None:
        try:
            while True:
                batch = await self._gather()
                try:
                    await self._run(batch)
                finally:
                    self._limiter.release(sum(image.patches for image in batch))
                    self._update()
        except Exception as error:
            log.error("tower_failed", exc_info=error)
            self._end()
            self._failed.set()

    def _end(self) -> None:
        self._ended = True
        for image in self._images:
            image.fail(TowerFailed())

    async def _gather(self) -> list[QueuedImage]:
        """The next batch, in request order, so that a caller of several images starts with its first. An
        image that takes longer than `max_wait_s` to prepare is overtaken.
        """
        await self._until(lambda: bool(self._ready), None)
        await self._until(self._full_or_alone, self.limits.max_wait_s)
        return self._take()

    async def _until(self, condition: Callable[[], bool], timeout_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    def _full_or_alone(self) -> bool:
        if not self._preparing:
            return True
        first = min(map(_turn, self._preparing))
        older = [image for image in self._ready if _turn(image) < first and not image.result.done()]
        return sum(image.size for image in older) >= self.limits.max_batch_patches

    def _take(self) -> list[QueuedImage]:
        """All with saliency or all without, so that calls without saliency do not pay for it."""
        now = time.monotonic()
        batch: list[QueuedImage] = []
        free_patches = self.limits.max_batch_patches
        while self._ready and (not batch or self._ready[0].joins(batch[0], free_patches)):
            image = self._ready.popleft()
            if image.deadline < now:
                self._drop(image, now)
            if image.result.done():
                self._limiter.release(image.patches)
                continue
            image.begun = True
            free_patches -= image.size
            batch.append(image)
        return batch

    async def _run(self, batch: Sequence[QueuedImage]) -> None:
        """Compute a batch. If that fails, compute each image alone, so that a bad image does not fail the
        others.
        """
        if not batch:
            return
        started = time.perf_counter()
        try:
            images = [image.prepared.patches for image in batch if image.prepared]
            loop = asyncio.get_running_loop()
            outputs = await loop.run_in_executor(
                self._tower, _guarded, self._compute, images, batch[0].saliency
            )
        except TowerFailed:
            raise
        except Exception as error:
            log.warning("encode_failed", images=len(batch), exc_info=error)
            await self._run_alone(batch, error)
            return
        ended = time.perf_counter()
        # Dummies would teach an idle tower that a few patches take as long as a call.
        self._rate.note(sum(image.size for image in batch if not image.dummy), ended - started)
        self._count(batch)
        for image, output in zip(batch, outputs, strict=True):
            image.finish(output, started, ended)

    def _count(self, batch: Sequence[QueuedImage]) -> None:
        tenants = [image.tenant for image in batch if not image.dummy]
        self.encodes.update(tenants)
        self.batches += bool(tenants)
        while len(self.encodes) > MAX_TENANTS:
            oldest = next(tenant for tenant in self.encodes if tenant != OTHERS)
            self.encodes[OTHERS] += self.encodes.pop(oldest)

    async def _run_alone(self, batch: Sequence[QueuedImage], error: Exception) -> None:
        if len(batch) == 1:
            failure = error if isinstance(error, FoveaError) else EncodeFailed()
            if failure is not error:
                failure.__cause__ = error
            batch[0].fail(failure)
            return
        for image in batch:
            await self._run([image])


def _guarded(compute: Compute, images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
    """Runs on the tower's thread. An error that is no Exception would otherwise end the event loop instead of
    this worker.
    """
    try:
        return compute(images, saliency)
    except Exception:
        raise
    except BaseException as error:
        raise TowerFailed from error
