"""Circuit breaker of an encoder.

A failure to answer opens it. While it is open no call waits for the encoder: calls fail at once, and images
go to the next encoder. A background probe closes it as soon as the encoder serves. Independent of gRPC.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import structlog

PROBE_EVERY_S = 0.2
log = structlog.get_logger()

Probe = Callable[[], Awaitable[bool]]
"""Whether the encoder answers and could serve. Bounds its own time."""


class Breaker:
    """Open or closed. Lives in a single event loop."""

    def __init__(self, name: str, probe: Probe) -> None:
        self._name = name
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._closed = False
        self.opened_at = -math.inf
        """On the monotonic clock."""

    @property
    def open(self) -> bool:
        return self._probing is not None

    def trip(self) -> None:
        """Open, and probe until the encoder serves. No effect while open, or once closed for good."""
        if self._probing is None and not self._closed:
            log.warning("encoder_down", encoder=self._name)
            self.opened_at = time.monotonic()
            self._probing = asyncio.create_task(self._probe_until_up())

    async def until_closed(self) -> None:
        """Wait until the encoder serves, or is given up."""
        if self._probing is not None:
            await asyncio.wait([self._probing])

    async def close(self) -> None:
        """Stop probing for good, when the encoder is given up."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _probe_until_up(self) -> None:
        while not await self._probe():  # noqa: ASYNC110  a remote process signals no event
            await asyncio.sleep(PROBE_EVERY_S)
        self._probing = None
        log.info("encoder_up", encoder=self._name)
