"""Checks every few seconds whether the encoders serve rows of this decoder's model.

If all encoders serve other weights, the decoder would refuse every image: it becomes not ready and logs why.
An encoder that does not answer keeps its last verdict. An encoder that never answered has no verdict, because
a decoder may start before its encoders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from decoder_svc.encoders.fleet import EncoderStatus
from decoder_svc.encoders.pool import EncoderPool
from fovea.deadline import Deadline

CHECK_TIMEOUT_S = 2.0
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
        self._fits: dict[str, bool] = {}

    async def run(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.check()

    async def check(self) -> None:
        """Check all encoders once."""
        states = await self._pool.states(Deadline.after(CHECK_TIMEOUT_S))
        before, self._fits = self._fits, {}
        for state in states:
            fits = state.compatible if state.info else before.get(state.address)
            if fits is not None:
                self._fits[state.address] = fits
                if fits is not before.get(state.address, True):
                    self._log(state, fits)
        self._report(any(self._fits.values()) or not self._fits)

    def _log(self, state: EncoderStatus, fits: bool) -> None:
        """Called once per change of the verdict."""
        if fits:
            log.info("encoder serves this model again", encoder=state.address)
        elif state.info is not None:
            log.warning(
                "encoder serves rows of another model",
                encoder=state.address,
                expected=self._fingerprint,
                actual=state.info.fingerprint,
                layout=str(state.info.layout),
            )
