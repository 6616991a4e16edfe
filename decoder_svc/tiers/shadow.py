"""Silent errors of a tier: a share of the answers that it keeps is also answered by the tiers that follow.

That runs off the caller's path and outside of its bill: it reserves nothing, and its record belongs to no
tenant. The answers are compared once normalized. More contradictions than the calibration explains raise an
alarm: the questions are no longer like those that the tier was calibrated for.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass

import structlog

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers, Figure
from fovea.calibration.answers import agree
from fovea.calibration.band import ErrorBand
from fovea.contract.answer import Event, Finished, FinishReason, Text
from fovea.contract.errors import FoveaError
from fovea.contract.usage import Anomaly, AnomalyKind, Outcome, UsageRecord, microseconds
from fovea.deadline import Deadline

MOST_RUNNING = 2
"""Shadow answers that run concurrently; further answers are not compared."""
LIMIT_S = 120.0
METHOD = "Shadow"
NO_TENANT = "(shadow)"
"""The tenant of a shadow's record. No token can have this name."""
log = structlog.get_logger()


@dataclass(frozen=True)
class ShadowOutlets:
    """Where shadows get encoders, and where records and alarms go. A sink must neither wait nor fail."""

    held: Callable[[str], AbstractContextManager[Fleet]]
    record: Callable[[UsageRecord], object] = lambda record: None
    alarm: Callable[[Anomaly], object] = lambda anomaly: None


class Shadow:
    """Confined to an event loop."""

    def __init__(
        self,
        tier: str,
        share: float,
        band: ErrorBand,
        outlets: ShadowOutlets,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.compared = self.contradicted = self.failed = self.skipped = self.alarms = 0
        self.tokens = 0
        self.band = band
        self._tier = tier
        self._share = share
        self._outlets = outlets
        self._draw = draw
        self._running: set[asyncio.Task[None]] = set()

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (
            Figure("shadow_compared", "Kept answers that were compared.", lambda: self.compared),
            Figure("shadow_contradicted", "Compared answers that differ.", lambda: self.contradicted),
            Figure("shadow_failed", "Comparisons that failed.", lambda: self.failed),
            Figure("shadow_skipped", "Comparisons left out, too many ran.", lambda: self.skipped),
            Figure("shadow_tokens", "Tokens of comparisons, charged to no tenant.", lambda: self.tokens),
            Figure("silent_error_alarms", "Times the rate of errors left its band.", lambda: self.alarms),
            Figure("silent_error_rate", "Rate of the latest comparisons.", lambda: self.band.value, False),
            Figure("silent_error_bound", "Highest rate in the band.", lambda: self.band.bound, False),
            Figure(
                "silent_error_alarm", "1 while the rate is above its band.", lambda: self.band.left, False
            ),
        )

    def consider(self, request: ChatRequest, text: str, following: Answers) -> None:
        """Perhaps compare a kept answer. Of sampled answers, both may be right: they are not compared."""
        if not request.sampling.is_greedy or self._draw() >= self._share:
            return
        if len(self._running) >= MOST_RUNNING:
            self.skipped += 1
            return
        task = asyncio.create_task(self._compare(request, text, following))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End the comparisons that run."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def drained(self) -> None:
        """Wait for the comparisons that run."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _compare(self, request: ChatRequest, text: str, following: Answers) -> None:
        used, outcome = RequestUsage(), Outcome.FAILED
        try:
            with self._outlets.held(request.tenant) as encoders:
                deadline = Deadline.after(LIMIT_S)
                async with asyncio.timeout(LIMIT_S):
                    finish_reason, other = await _read(following(request, encoders, deadline, used))
            outcome = Outcome.LENGTH if finish_reason is FinishReason.LENGTH else Outcome.OK
        except (FoveaError, TimeoutError) as error:
            self.failed += 1
            log.info("shadow_failed", tier=self._tier, error=type(error).__name__)
        finally:
            used.receipt = used.total()
            self._record(request, used, outcome)
        if outcome is Outcome.OK:  # an answer that was cut says nothing
            self._judge(request, agree(text, other))

    def _judge(self, request: ChatRequest, agrees: bool) -> None:
        self.compared += 1
        self.contradicted += not agrees
        if not self.band.add(not agrees):
            return
        self.alarms += 1
        usual, value, bound = self.band.usual, self.band.value, self.band.bound
        log.warning("silent_errors", tier=self._tier, usual=usual, value=value, bound=bound)
        kind, now = AnomalyKind.SILENT_ERRORS, time.time()
        anomaly = Anomaly(kind, "", now, request.id, "", usual, value, self._tier)
        self._outlets.alarm(anomaly)

    def _record(self, request: ChatRequest, used: RequestUsage, outcome: Outcome) -> None:
        totals = used.receipt.totals
        self.tokens += totals.text_tokens + totals.visual_tokens + totals.output_tokens
        self._outlets.record(
            UsageRecord(
                id=uuid.uuid4().hex,
                request_id=request.id,
                tenant=NO_TENANT,
                started=microseconds(time.time() - used.elapsed_ms() / 1000),
                method=METHOD,
                outcome=outcome,
                model=used.model,
                receipt=used.receipt,
                parent_request_id=request.id,
            )
        )


async def _read(events: AsyncGenerator[Event, None]) -> tuple[FinishReason | None, str]:
    """Why an answer ended, and its text."""
    text, finish_reason = [], None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Text):
                text.append(event.text)
            elif isinstance(event, Finished):
                finish_reason = event.finish_reason
    return finish_reason, "".join(text)
