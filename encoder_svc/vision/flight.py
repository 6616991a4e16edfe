"""One computation and all who wait for it.

However many calls ask for the rows under one key, there is one flight. It is given up only when the
last of them has left before the tower began with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.prepare import PreparedImage

Prepare = Callable[[], Awaitable[PreparedImage]]


@dataclass(frozen=True)
class EncodeTimes:
    """Milliseconds by stage; the tower's are of the whole batch, `queue_ms` is all that was
    waiting.
    """

    queue_ms: float
    decode_ms: float
    preprocess_ms: float
    tower_ms: float


@dataclass(frozen=True)
class Encoded:
    """The rows of one image: of all its cells, or of those at the raster places `kept`.

    `first` is true for one of those who asked: the one that should store them. `saliency` has a float a row
    where it was asked for; then `uniform` tells which of the rows show one colour alone.
    """

    rows: bytes
    grid_thw: tuple[int, int, int]
    times: EncodeTimes
    first: bool = False
    kept: NDArray[np.int32] | None = None
    saliency: NDArray[np.float32] | None = None
    uniform: NDArray[np.bool_] | None = None


@dataclass(eq=False)
class Flight:
    """`patches` is the most that the image can cost the tower, known from its size before it is prepared."""

    key: Hashable
    patches: int
    prepare: Prepare
    result: asyncio.Future[Encoded]
    saliency: bool = False
    waiters: int = 0
    begun: bool = False
    abandoned: bool = False
    claimed: bool = False
    prepared: PreparedImage | None = None
    task: asyncio.Task[None] | None = None
    created: float = field(default_factory=time.perf_counter)

    @property
    def cost(self) -> int:
        """Patches that the tower will see: known once the image is prepared, until then at most `patches`."""
        return self.patches if self.prepared is None else self.prepared.patches.count

    def joins(self, other: Flight, left: int) -> bool:
        """Whether it may share a tower call that has room for `left` patches more."""
        return self.saliency == other.saliency and self.cost <= left

    def finish(self, made: TowerOutput, started: float, ended: float) -> None:
        """Hand the rows to all who wait; `started` and `ended` are those of the tower call."""
        if self.result.done() or self.prepared is None:
            return
        decode_ms, preprocess_ms = self.prepared.decode_ms, self.prepared.preprocess_ms
        before = 1e3 * (started - self.created)
        queue_ms = max(0.0, before - decode_ms - preprocess_ms)
        times = EncodeTimes(queue_ms, decode_ms, preprocess_ms, 1e3 * (ended - started))
        image = self.prepared.patches
        self.result.set_result(
            Encoded(
                made.rows,
                image.grid_thw,
                times,
                kept=image.kept,
                saliency=made.saliency,
                uniform=image.uniform,
            )
        )

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()  # seen: nobody may be waiting any more

    @property
    def failed(self) -> bool:
        return self.result.done() and (self.result.cancelled() or self.result.exception() is not None)

    def claim(self) -> bool:
        """True for the first who asks."""
        claimed, self.claimed = self.claimed, True
        return not claimed
