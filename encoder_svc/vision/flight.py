"""A computation and the callers that wait for it.

Callers of a key share a flight. It is abandoned only if the last waiter leaves before the tower has begun.
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
    """Milliseconds by stage. `tower_ms` is of the whole batch, `queue_ms` covers all waiting."""

    queue_ms: float
    decode_ms: float
    preprocess_ms: float
    tower_ms: float


@dataclass(frozen=True)
class Encoded:
    """The rows of an image: of all its cells, or of those at the raster indices `kept`.

    `first` is true for exactly one caller, which should store the rows. `saliency` has a float per row if
    requested; `uniform` then tells which rows show uniform patches.
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
    """`patches` bounds what the image can cost the tower; the image size decides it before preparation."""

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
        """Patches that the tower will see: exact once the image is prepared, `patches` until then."""
        return self.patches if self.prepared is None else self.prepared.patches.count

    def joins(self, other: Flight, left: int) -> bool:
        """Whether it may share a tower call that has room for `left` more patches."""
        return self.saliency == other.saliency and self.cost <= left

    def finish(self, output: TowerOutput, started: float, ended: float) -> None:
        """Deliver the rows to all waiters; `started` and `ended` are of the tower call."""
        if self.result.done() or self.prepared is None:
            return
        decode_ms, preprocess_ms = self.prepared.decode_ms, self.prepared.preprocess_ms
        before = 1e3 * (started - self.created)
        queue_ms = max(0.0, before - decode_ms - preprocess_ms)
        times = EncodeTimes(queue_ms, decode_ms, preprocess_ms, 1e3 * (ended - started))
        image = self.prepared.patches
        self.result.set_result(
            Encoded(
                output.rows,
                image.grid_thw,
                times,
                kept=image.kept,
                saliency=output.saliency,
                uniform=image.uniform,
            )
        )

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()  # retrieved: there may be no waiter left

    @property
    def failed(self) -> bool:
        return self.result.done() and (self.result.cancelled() or self.result.exception() is not None)

    def claim(self) -> bool:
        """True for the first caller."""
        claimed, self.claimed = self.claimed, True
        return not claimed
