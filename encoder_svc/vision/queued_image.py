"""An image in the batcher's queue, from the call until its rows are computed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from encoder_svc.vision.output import Encoded, Timings, TowerOutput
from encoder_svc.vision.prepare import PreparedImage
from fovea.server.fair_queue import Waiter

Prepare = Callable[[], Awaitable[PreparedImage]]


@dataclass(eq=False)
class QueuedImage(Waiter):
    """`patches` bounds what the image can cost the tower; the image size decides it before preparation.

    `prepare` makes at most `patches` patches. `begun` turns true when the tower takes the image.
    `tenant` is the tenant whose call started the computation; `deadline` is the last of all its callers.
    `number` orders images by when their preparation began. No figure counts a `dummy`, whose `patches` is 0.
    """

    patches: int
    prepare: Prepare
    saliency: bool = False
    dummy: bool = False
    begun: bool = False
    number: int = 0
    preparation: asyncio.Task[None] | None = None
    context: Context = field(default_factory=copy_context)  # of the call that started the computation
    prepared: PreparedImage | None = None
    result: asyncio.Future[Encoded] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    created: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.cost = self.patches

    def extend(self, deadline: float) -> None:
        """Serve another caller too."""
        self.deadline = max(self.deadline, deadline)

    @property
    def size(self) -> int:
        """Patches that the tower will see: exact once the image is prepared, `patches` until then."""
        return self.patches if self.prepared is None else self.prepared.patches.count

    def joins(self, other: QueuedImage, left: int) -> bool:
        """Whether it may share a tower call that has room for `left` more patches."""
        return self.saliency == other.saliency and self.size <= left

    def finish(self, output: TowerOutput, started: float, ended: float) -> None:
        """Deliver the rows; `started` and `ended` are of the tower call."""
        if self.result.done() or self.prepared is None:
            return
        decode_ms, preprocess_ms = self.prepared.decode_ms, self.prepared.preprocess_ms
        before = 1e3 * (started - self.created)
        queue_ms = max(0.0, before - decode_ms - preprocess_ms)
        timings = Timings(queue_ms, decode_ms, preprocess_ms, 1e3 * (ended - started))
        image = self.prepared.patches
        self.result.set_result(
            Encoded(output.rows, image.grid_thw, timings, image.kept, output.saliency, image.uniform)
        )
        self.prepared = None  # the patches take more memory than the rows

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
