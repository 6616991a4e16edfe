"""Batches the images of concurrent calls into packed tower calls and computes each key once.

Images are prepared in parallel with the tower, which runs on its own thread. A batch holds at most
`max_batch_patches`. It waits only while images are being prepared, and never longer than `max_wait_s`.
Independent of torch and the store: the tower is a function, and the caller supplies how its image is
prepared.
"""

from __future__ import annotations

import asyncio
import bisect
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from encoder_svc.errors import EncodeFailed, TowerFailed
from encoder_svc.vision.flight import Encoded, Flight, Prepare
from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.patch_limiter import PatchLimiter
from encoder_svc.vision.preprocess import Patches
from fovea.contract.errors import EncoderBusy, FoveaError

# The tower: images, and whether their saliency is needed.
Compute = Callable[[Sequence[Patches], bool], list[TowerOutput]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BatchLimits:
    """An image larger than `max_batch_patches` is computed alone. A prepared patch takes 6 KiB."""

    max_batch_patches: int = 16_384
    max_prepared_patches: int = 49_152
    max_queue: int = 64
    max_wait_s: float = 0.003
    retry_after_s: float = 1.0


class Batcher:
    """Start it on the loop that calls it. `healthy` turns false for good when the tower fails."""

    def __init__(self, compute: Compute, limits: BatchLimits | None = None) -> None:
        self.limits = limits or BatchLimits()
        self._compute = compute
        self._flights: dict[Hashable, Flight] = {}
        self._ready: deque[Flight] = deque()  # oldest first
        self._changed = asyncio.Event()
        self._limiter = PatchLimiter(self.limits.max_prepared_patches)
        self._preparing: list[Flight] = []
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
        return sum(not flight.begun for flight in self._flights.values())

    @property
    def running(self) -> int:
        """Count of images in the tower."""
        return len(self._flights) - self.waiting

    async def encode(self, key: Hashable, patches: int, prepare: Prepare, saliency: bool = False) -> Encoded:
        """The rows of `key`, from a running or a new computation.

        `prepare` makes at most `patches` patches of the image; its error reaches all waiters of the key.
        `saliency` must be part of the key. Raises EncoderBusy if the queue is full, EncodeFailed if the tower
        cannot compute this image, TowerFailed if it computes none any more. Cancelling the call does not
        affect other waiters.
        """
        flight = self._flights.get(key) or self._launch(key, patches, prepare, saliency)
        flight.waiters += 1
        try:
            encoded = await asyncio.shield(flight.result)
        finally:
            flight.waiters -= 1
            if not flight.waiters:
                self._left(flight)
        first = flight.claim()
        if first:
            # Not earlier: until the first waiter has the rows, new callers must join this flight.
            self._forget(flight)
        return replace(encoded, first=first)

    def _launch(self, key: Hashable, patches: int, prepare: Prepare, saliency: bool) -> Flight:
        if not self.healthy:
            raise TowerFailed
        if (waiting := self.waiting) >= self.limits.max_queue:
            raise EncoderBusy(waiting, self.limits.max_queue, self.limits.retry_after_s)
        result: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        flight = Flight(key, patches, prepare, result, saliency)
        self._flights[key] = flight
        result.add_done_callback(lambda _: self._landed(flight))
        flight.task = asyncio.create_task(self._prepare(flight))
        return flight

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def _landed(self, flight: Flight) -> None:
        """Forget a flight that failed or has no waiters. Otherwise its first waiter forgets it."""
        if flight.failed or not flight.waiters:
            self._forget(flight)

    def _left(self, flight: Flight) -> None:
        """The last waiter has left, with or without the rows."""
        if flight.result.done():
            self._forget(flight)
        elif not flight.begun:
            self._abandon(flight)

    def _abandon(self, flight: Flight) -> None:
        """Cancel a computation that has no waiters and has not reached the tower."""
        flight.abandoned = True
        flight.result.cancel()
        self._forget(flight)
        if flight.task is not None:
            flight.task.cancel()

    async def _prepare(self, flight: Flight) -> None:
        await self._limiter.acquire(flight.patches)
        self._preparing.append(flight)
        try:
            flight.prepared = await flight.prepare()
            bisect.insort(self._ready, flight, key=_age)
        except Exception as error:
            flight.fail(error)
        finally:
            self._preparing.remove(flight)
            if flight.prepared is None:
                self._limiter.release(flight.patches)
            self._changed.set()

    async def _serve(self) -> None:
        try:
            while True:
                batch = await self._gather()
                try:
                    await self._run(batch)
                finally:
                    self._limiter.release(sum(flight.patches for flight in batch))
        except Exception as error:
            log.error("tower_failed", exc_info=error)
            self._end()
            self._failed.set()

    def _end(self) -> None:
        self._ended = True
        for flight in list(self._flights.values()):
            flight.fail(TowerFailed())
            if flight.task is not None:
                flight.task.cancel()

    async def _gather(self) -> list[Flight]:
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
        first = min(map(_age, self._preparing))
        older = [flight for flight in self._ready if _age(flight) < first and not flight.abandoned]
        return sum(flight.cost for flight in older) >= self.limits.max_batch_patches

    def _take(self) -> list[Flight]:
        """All with saliency or all without, so that calls without saliency do not pay for it."""
        batch: list[Flight] = []
        free_patches = self.limits.max_batch_patches
        while self._ready and (not batch or self._ready[0].joins(batch[0], free_patches)):
            flight = self._ready.popleft()
            if flight.abandoned:
                self._limiter.release(flight.patches)
                continue
            flight.begun = True
            free_patches -= flight.cost
            batch.append(flight)
        return batch

    async def _run(self, batch: Sequence[Flight]) -> None:
        """Compute a batch. If that fails, compute each image alone, so that a bad image does not fail the
        others.
        """
        if not batch:
            return
        started = time.perf_counter()
        try:
            images = [flight.prepared.patches for flight in batch if flight.prepared]
            rows = await self._on_tower(images, batch[0].saliency)
        except TowerFailed:
            raise
        except Exception as error:
            log.warning("encode_failed", images=len(batch), exc_info=error)
            await self._run_alone(batch, error)
            return
        ended = time.perf_counter()
        for flight, data in zip(batch, rows, strict=True):
            flight.finish(data, started, ended)

    async def _run_alone(self, batch: Sequence[Flight], error: Exception) -> None:
        if len(batch) == 1:
            failure = error if isinstance(error, FoveaError) else EncodeFailed()
            if failure is not error:
                failure.__cause__ = error
            batch[0].fail(failure)
            return
        for flight in batch:
            await self._run([flight])

    async def _on_tower(self, images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tower, _guarded, self._compute, images, saliency)


def _age(flight: Flight) -> float:
    return flight.created


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
