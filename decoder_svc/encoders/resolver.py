"""A DNS name and the addresses behind it, looked up again and again.

Where a lookup fails the last addresses stand: a DNS server that is down is no reason to leave encoders that
answer. Knows no encoder and no gRPC; whoever listens is told all addresses after each lookup.
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
"""From host and port to addresses. Raises OSError where there are none."""


@dataclass(frozen=True)
class DnsName:
    """A name of which every address is an encoder; written as gRPC writes it, `dns:///host:port`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> DnsName:
        found = _NAME.fullmatch(text)
        if not found or not 0 < int(found[2]) < 65_536:
            raise ValueError(f"{text} is not of the form dns:///host:port")
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"dns:///{self.host}:{self.port}"


async def lookup(host: str, port: int) -> list[str]:
    """What the system's resolver says, in a thread of the event loop.

    One family only, IPv4 where there is any: an encoder with two addresses would be taken for two.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = {family: {str(to[0]) for kin, _, _, _, to in found if kin == family} for family, *_ in found}
    if socket.AF_INET in hosts:
        return sorted(f"{host}:{port}" for host in hosts[socket.AF_INET])
    return sorted(f"[{host}]:{port}" for host in hosts[socket.AF_INET6])


class Resolver:
    """Looks one name up every `every_s` seconds, and logs where that begins to fail and where it ends."""

    def __init__(
        self, name: DnsName, every_s: float, heard: Callable[[Sequence[str]], None], lookup: Lookup = lookup
    ) -> None:
        self._name = name
        self._every_s = every_s
        self._heard = heard
        self._lookup = lookup
        self._failing = False

    async def run(self) -> None:
        """For ever. A slow lookup is not cut short: its thread would go on, and the next one take another."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Once."""
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
        self._heard(addresses)
