"""A decoder whose engine takes a fixed time a token: `python -m bench.fault_cases.fixed_delay`, usual flags.

Everything but the arithmetic is the product: service, admission, prompt, the calls of `BaseEngine`. So an
overload of it leaves the CPU to the callers that measure. Answers have as many tokens as they may.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from decoder_svc import app
from decoder_svc.engine.admission import check_request
from decoder_svc.engine.base import BaseEngine, EngineCall
from decoder_svc.engine.delta_queue import DeltaQueue
from decoder_svc.engine.protocol import (
    Delta,
    EngineLimits,
    EngineLoad,
    EngineRequest,
    EngineTimings,
    ModelShape,
    Prompt,
    ResponseFormat,
    RowStreams,
    Usage,
)
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.settings import DecoderLimits, DecoderSettings
from decoder_svc.tiers import served
from decoder_svc.tiers.served import Progress
from fovea.contract.errors import FoveaError
from fovea.contract.rows import RowDtype, RowLayout
from fovea.server.entry import prepare

STEP_S = 0.02


class FixedDelayEngine(BaseEngine[EngineCall]):
    """Runs `max_running` calls at once, each in STEP_S a token, and lets the others wait in order."""

    description = "fixed delay"
    healthy = True

    def __init__(self, shape: ModelShape, limits: EngineLimits, max_running: int) -> None:
        super().__init__(limits, max_running)
        self.shape = shape
        self._slots = asyncio.Semaphore(max_running)
        self._running = 0

    async def start(self) -> None:
        self._failure = None

    async def close(self) -> None:
        """Holds nothing."""

    async def died(self) -> FoveaError:
        return await asyncio.get_running_loop().create_future()

    def load(self) -> EngineLoad:
        running = min(self._running, self.held)  # it may run a dummy
        return EngineLoad(running, self.held - running, 0, 0, 0)

    async def probe(self, prompt: Prompt) -> int:
        return 0

    async def check_format(self, wanted: ResponseFormat, tenant: str) -> None:
        """Takes any."""

    async def _admit(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> EngineCall:
        check_request(request, rows, layout, self.limits, self.shape)
        self._check_room(request.id)
        call = self._calls[request.id] = EngineCall(request, rows, DeltaQueue())
        call.start(self._compute(call))
        return call

    async def _compute(self, call: EngineCall) -> None:
        prompt, tokens = len(call.request.prompt.token_ids), call.request.sampling.token_limit
        async with self._slots:
            self._running += 1
            try:
                await asyncio.sleep(STEP_S)
                timings = EngineTimings(prefill_ms=1000 * STEP_S, ttft_ms=1000 * STEP_S)
                call.deltas.put(Delta((0,), "a", Usage(prompt, 0, 1), timings))
                await asyncio.sleep((tokens - 1) * STEP_S)
            finally:
                self._running -= 1
        decode_ms = 1000 * (tokens - 1) * STEP_S
        timings = EngineTimings(prefill_ms=1000 * STEP_S, ttft_ms=1000 * STEP_S, decode_ms=decode_ms)
        call.deltas.put(Delta((0,) * (tokens - 1), "", Usage(prompt, 0, tokens), timings, "length"))
        call.end()

    def _abort(self, call: EngineCall) -> None:
        """Answers end by themselves."""


def build(
    chosen: DecoderSettings, limits: DecoderLimits, dtype: RowDtype, progress: Progress
) -> FixedDelayEngine:
    return FixedDelayEngine(Checkpoint(chosen.model).model_shape, limits, limits.max_running)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    prepare("decoder")
    served.ENGINES = {**served.ENGINES, "native": build}
    app.main(sys.argv[1:])
