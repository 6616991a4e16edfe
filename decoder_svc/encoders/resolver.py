"""Looks up a DNS name periodically and reports its addresses.

After a failed lookup the last addresses stay valid: a DNS outage must not disconnect working encoders.
Independent of encoders and gRPC; a callback receives all addresses after each lookup.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

SCHEME = "dns:"
_NAME = re.compile(r"dns:///((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?):([0-9]{1,5})", re.IGNORECASE)

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Maps host and port to addresses. Raises OSError if there are none."""


@dataclass(frozen=True)
class DnsName:
    """A name whose addresses are all encoders, in gRPC's syntax `dns:///host:port`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> DnsName:
        match = _NAME.fullmatch(text)
        if not match or not 0 < int(match[2]) < 65_536:
            raise ValueError(f"{text} is not of the form dns:///host:port")
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"dns:///{self.host}:{self.port}"


async def lookup(host: str, port: int) -> list[str]:
    """Ask the system's resolver, in a thread of the event loop.

    Returns IPv4 addresses if there are any, otherwise IPv6: an encoder with both would count twice.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ipv4 = {str(address[0]) for family, _, _, _, address in infos if family == socket.AF_INET}
    if ipv4:
        return sorted(f"{ip}:{port}" for ip in ipv4)
    ipv6 = {str(address[0]) for family, _, _, _, address in infos if family == socket.AF_INET6}
    return sorted(f"[{ip}]:{port}" for ip in ipv6)


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
