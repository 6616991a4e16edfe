"""Checks every few seconds whether an encoder could serve an image now.

An encoder fits if it answers and serves rows of this decoder's model. While none fits the decoder is not
ready, unless it is set to be ready without encoders: it would still answer text and images whose rows it
holds. While none fits the checks are more frequent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from decoder_svc.encoders.fleet import EncoderStatus
from decoder_svc.encoders.pool import EncoderPool
from fovea.deadline import Deadline

CHECK_TIMEOUT_S = 2.0
UNFIT_EVERY_S = 0.5
log = structlog.get_logger()


class EncoderWatch:
    """Calls `report` after every check with whether any encoder fits. Lives in a single event loop."""

    def __init__(
        self, pool: EncoderPool, fingerprint: str, every_s: float, report: Callable[[bool], None]
    ) -> None:
        self._pool = pool
        self._fingerprint = fingerprint
        self._every_s = every_s
        self._report = report
        self._compatible: dict[str, bool] = {}

    async def run(self) -> None:
        """Never returns."""
        while True:
            fits = await self.check()
            await asyncio.sleep(self._every_s if fits else min(UNFIT_EVERY_S, self._every_s))

    async def check(self) -> bool:
        """Check all encoders once; whether any fits."""
        states = await self._pool.states(Deadline.after(CHECK_TIMEOUT_S))
        for state in states:
            if state.info is not None and state.compatible is not self._compatible.get(state.address, True):
                self._log(state)
        self._compatible |= {state.address: state.compatible for state in states if state.info is not None}
        up = self._pool.up()  # a breaker that is still open refuses calls
        fits = any(state.compatible and up.get(state.address, False) for state in states)
        self._report(fits)
        return fits

    def _log(self, state: EncoderStatus) -> None:
        """Called once per change of the verdict."""
        if state.compatible:
            log.info("encoder serves this model again", encoder=state.address)
        elif state.info is not None:
            log.warning(
                "encoder serves rows of another model",
                encoder=state.address,
                expected=self._fingerprint,
                actual=state.info.fingerprint,
                layout=str(state.info.layout),
            )
