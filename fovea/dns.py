"""DNS names whose addresses are all servers, and their look-up. Independent of gRPC."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SCHEME = "dns:"
_NAME = re.compile(r"dns:///((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?):([0-9]{1,5})", re.IGNORECASE)


@dataclass(frozen=True)
class DnsName:
    """A name whose addresses are all servers, in gRPC's syntax `dns:///host:port`."""

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


def look_up(host: str, port: int) -> list[str]:
    """The addresses, from the system's resolver. Raises OSError if there are none."""
    return _addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), port)


async def lookup(host: str, port: int) -> list[str]:
    """Like `look_up`, in a thread of the event loop."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _addresses(found, port)


def _addresses(found: Iterable[tuple[Any, ...]], port: int) -> list[str]:
    """IPv4 addresses if there are any, otherwise IPv6: a server with both would count twice."""
    listed = list(found)
    ipv4 = {str(address[0]) for family, *_, address in listed if family == socket.AF_INET}
    if ipv4:
        return sorted(f"{ip}:{port}" for ip in ipv4)
    ipv6 = {str(address[0]) for family, *_, address in listed if family == socket.AF_INET6}
    return sorted(f"[{ip}]:{port}" for ip in ipv6)
