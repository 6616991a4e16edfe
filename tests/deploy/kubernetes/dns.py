"""A DNS server with A records that change, as a cluster's: what gRPC and the services ask for names of pods."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Callable, Sequence

PORT = 53
TTL_S = 1
A, IN = 1, 1
ANSWER, NO_SUCH_NAME = 0x8580, 0x8583  # authoritative, recursion available

Lookup = Callable[[str], Sequence[str] | None]
"""IPv4 addresses of a name in lower case; None if there is no such name."""


class DnsServer(asyncio.DatagramProtocol):
    """Answers at an address until it is closed. Names without an A record answer other types with nothing."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(host, PORT))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._answer(data), peer)

    def _answer(self, query: bytes) -> bytes:
        name, end = _name(query, 12)
        (kind,) = struct.unpack_from("!H", query, end)
        found = self._lookup(name.lower())
        addresses = found if found and kind == A else ()
        flags = NO_SUCH_NAME if found is None else ANSWER
        header = query[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
        records = [
            struct.pack("!HHHIH", 0xC00C, A, IN, TTL_S, 4) + ipaddress.IPv4Address(address).packed
            for address in addresses
        ]
        return header + query[12 : end + 4] + b"".join(records)


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name of a question, and where it ends."""
    labels = []
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), at + 1
