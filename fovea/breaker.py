"""Circuit breaker of a service: an encoder, another decoder, or a shared cache.

A failure to answer opens it. While it is open no call waits for the service: calls fail at once, and work
goes to the next. A background probe closes it as soon as the service serves. Independent of gRPC.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import Context

import structlog

PROBE_EVERY_S = 0.2
log = structlog.get_logger()

Probe = Callable[[], Awaitable[bool]]
"""Whether the service answers and could serve. Bounds its own time."""


class Breaker:
    """Open or closed. `role` is what the log calls the service. Lives in a single event loop."""

    def __init__(self, name: str, probe: Probe, role: str = "encoder") -> None:
        self._name = name
        self._role = role
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._closed = False
        self.opened_at = -math.inf
        """On the monotonic clock."""

    @property
    def open(self) -> bool:
        return self._probing is not None

    def trip(self) -> None:
        """Open, and probe until the service serves. No effect while open, or once closed for good."""
        if self._probing is None and not self._closed:
            log.warning(f"{self._role}_down", **{self._role: self._name})
            self.opened_at = time.monotonic()
            # A context of its own: the probes are not part of the request that met the failure.
            self._probing = asyncio.create_task(self._probe_until_up(), context=Context())

    async def until_closed(self) -> None:
        """Wait until the service serves, or is given up."""
        if self._probing is not None:
            await asyncio.wait([self._probing])

    async def close(self) -> None:
        """Stop probing for good, when the service is given up."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _probe_until_up(self) -> None:
        while not await self._probe():  # noqa: ASYNC110  a remote process signals no event
            await asyncio.sleep(PROBE_EVERY_S)
        self._probing = None
        log.info(f"{self._role}_up", **{self._role: self._name})
