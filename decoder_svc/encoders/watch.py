"""Whether the encoders serve rows of this decoder's model, asked every few seconds.

A decoder all of whose encoders serve other weights refuses every image: it is not ready, and says why. An
encoder that does not answer keeps the verdict that it had; one that was never heard of has none, because a
decoder may start before its encoders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from decoder_svc.encoders.fleet import EncoderStatus
from decoder_svc.encoders.pool import EncoderPool
from fovea.deadline import Deadline

LOOK_S = 2.0
log = structlog.get_logger()


class EncoderWatch:
    """`told` hears whether any encoder fits, at every look. Lives in one event loop."""

    def __init__(
        self, pool: EncoderPool, fingerprint: str, every_s: float, told: Callable[[bool], None]
    ) -> None:
        self._pool = pool
        self._fingerprint = fingerprint
        self._every_s = every_s
        self._told = told
        self._fits: dict[str, bool] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.look()

    async def look(self) -> None:
        """Once."""
        states = await self._pool.states(Deadline.after(LOOK_S))
        before, self._fits = self._fits, {}
        for state in states:
            fits = state.compatible if state.info else before.get(state.address)
            if fits is not None:
                self._fits[state.address] = fits
                if fits is not before.get(state.address, True):
                    self._log(state, fits)
        self._told(any(self._fits.values()) or not self._fits)

    def _log(self, state: EncoderStatus, fits: bool) -> None:
        """Once a change."""
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
