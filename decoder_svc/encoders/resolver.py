"""Looks up a DNS name periodically and reports its addresses.

After a failed lookup the last addresses stay valid: a DNS outage must not disconnect working encoders.
Independent of encoders and gRPC; a callback receives all addresses after each lookup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from fovea.dns import DnsName, lookup

log = structlog.get_logger()

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Maps host and port to addresses. Raises OSError if there are none."""


class Resolver:
    """Looks a name up every `every_s` seconds. Logs the first failure and the recovery."""

    def __init__(
        self, name: DnsName, every_s: float, update: Callable[[Sequence[str]], None], lookup: Lookup = lookup
    ) -> None:
        self._name = name
        self._every_s = every_s
        self._update = update
        self._lookup = lookup
        self._failing = False

    async def run(self) -> None:
        """Never returns. A lookup has no timeout: its thread would go on, and the next would add a second."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._every_s)

    async def refresh(self) -> None:
        """Look the name up once."""
        try:
            addresses = await self._lookup(self._name.host, self._name.port)
        except OSError as error:
            if not self._failing:
                log.warning("encoders not resolved", name=str(self._name), error=str(error))
            self._failing = True
            return
        if self._failing:
            log.info("encoders resolved again", name=str(self._name))
        self._failing = False
        self._update(addresses)
