"""The servers of a client, and which of them gets each attempt of a call.

A server that was unavailable rests: for a second calls pass it over. Where the target is a DNS name, it is
looked up again in a thread, so that no call but the first waits for an answer; if a look-up fails, the last
addresses stay. Thread-safe. Independent of RPCs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import grpc

from fovea.contract.errors import FoveaError, Unreachable
from fovea.dns import look_up
from fovea.rendezvous import bounded_owner
from fovea.target import Target

REST_S = 1.0
LOOK_UP_EVERY_S = 10.0


@dataclass(eq=False)
class Server:
    """`calls` are those of this client that run on it now."""

    address: str
    channel: Any
    stub: Any
    calls: int = 0
    rests_until: float = -inf


class Pool:
    """`connect` makes the server of an address; its channel connects on the first call."""

    def __init__(self, target: Target, connect: Callable[[str], Server]) -> None:
        self.target = target
        self._connect = connect
        self._looked_up = -inf
        self._addresses: Sequence[str] = target.addresses
        self._servers: dict[str, Server] = {}
        self._leaving: list[Server] = []
        self._lock = threading.Lock()
        self._looking: Future[None] | None = None

    @property
    def is_known(self) -> bool:
        """Whether any address is known."""
        return bool(self._addresses)

    def look_up(self) -> Future[None]:
        """The end of the look-up of the name that runs in a thread, or of a new one."""
        with self._lock:
            if self._looking is None or self._looking.done():
                self._looked_up = time.monotonic()
                self._looking = Future()
                threading.Thread(target=self._refresh, args=(self._looking,), daemon=True).start()
            return self._looking

    def check_known(self) -> None:
        """Raises Unreachable if no address is known."""
        if not self._addresses:
            name = str(self.target)
            raise Unreachable(f"no service can be reached at {name}: it has no address", address=name)

    def servers(self) -> list[Server]:
        """All servers, as far as the addresses are known. Opens channels, so call it where they are used."""
        if self.target.name and time.monotonic() >= self._looked_up + LOOK_UP_EVERY_S:
            self.look_up()
        with self._lock:
            if tuple(self._servers) != tuple(self._addresses):
                self._replace(self._addresses)
            return list(self._servers.values())

    def with_calls(self) -> list[Server]:
        """All servers, also those that have left the name with calls running on them."""
        with self._lock:
            return [*self._servers.values(), *self._leaving]

    def take(self, key: str, tried: Collection[Server] = ()) -> Server:
        """The server of the next attempt; it counts as running there. Use it in `running`.

        The owner of the key within the bound of `fovea.rendezvous`, among the servers that are not tried yet
        and do not rest, as far as there are such.
        """
        servers, now = self.servers(), time.monotonic()
        with self._lock:
            left = [server for server in servers if server not in tried] or servers
            awake = [server for server in left if server.rests_until <= now] or left
            by_address = {server.address: server for server in awake}
            server = by_address[bounded_owner(key, {each.address: each.calls for each in awake})]
            server.calls += 1
            return server

    @contextmanager
    def running(self, server: Server) -> Iterator[None]:
        """An attempt on a server that was taken. If it is unavailable, the server rests."""
        unavailable = False
        try:
            yield
        except FoveaError as error:
            unavailable = error.code is grpc.StatusCode.UNAVAILABLE
            raise
        finally:
            with self._lock:
                server.calls -= 1
                if unavailable:
                    server.rests_until = time.monotonic() + REST_S

    def _refresh(self, done: Future[None]) -> None:
        """Look the name up. A failed look-up changes nothing."""
        try:
            if self.target.name:
                with suppress(OSError):
                    self._addresses = look_up(self.target.name.host, self.target.name.port) or self._addresses
        finally:
            done.set_result(None)

    def _replace(self, addresses: Sequence[str]) -> None:
        """Servers that stay keep their channel; running calls on others go on."""
        old = self._servers
        self._servers = {address: old.get(address) or self._connect(address) for address in addresses}
        gone = (server for address, server in old.items() if address not in self._servers)
        self._leaving = [server for server in (*self._leaving, *gone) if server.calls]
