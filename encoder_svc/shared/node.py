"""A server of the second level: its connections, the time of a call, and its circuit breaker.

A call that gets no answer in time opens the breaker, and further calls fail at once. After a rest, probes
close it when the server answers. So a dead or slow server costs the calls of one moment their time limit, and
no others. Refusals of the server, such as a full memory, are answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from valkey.asyncio import ConnectionPool, Valkey
from valkey.exceptions import ConnectionError as ConnectionLost
from valkey.exceptions import InvalidResponse, ResponseError
from valkey.exceptions import TimeoutError as ServerTimeout

from encoder_svc.shared.level import SharedLimits
from fovea.breaker import Breaker

T = TypeVar("T")
Execute = Callable[..., Awaitable[Any]]
"""Sends a command with its arguments, and returns the server's reply."""
Command = Callable[[Execute], Awaitable[T]]
_LOST = (ConnectionLost, ServerTimeout, InvalidResponse, OSError)
"""What a server that does not answer raises; a TimeoutError is an OSError."""


class NodeDown(Exception):
    """A server did not answer, or is not called because it has not answered before."""


class CacheNode:
    """A server by name, which has no credentials in it. `connection` are arguments of the client's pool."""

    def __init__(self, name: str, host: str, connection: dict[str, Any], limits: SharedLimits) -> None:
        self.name = name
        self.host = host
        self.breaker = Breaker(name, self._probe, role="shared_cache")
        self._limits = limits
        self._client = Valkey(connection_pool=ConnectionPool(**connection))
        self._execute: Execute = self._client.execute_command
        self._places = asyncio.Semaphore(limits.connections)

    async def call(self, command: Command[T], limit_s: float) -> T:
        """Raises NodeDown, at once while the breaker is open, and ResponseError."""
        if self.breaker.open:
            raise NodeDown(self.name)
        return await self.attempt(command, limit_s)

    async def attempt(self, command: Command[T], limit_s: float) -> T:
        """Like `call`, but also while the breaker is open."""
        begun = False
        try:
            async with asyncio.timeout(limit_s), self._places:
                begun = True
                return await command(self._execute)
        except _LOST as error:
            if begun:  # else it waited for other calls, which says nothing of the server
                self.breaker.trip()
            raise NodeDown(self.name) from error

    async def close(self) -> None:
        await self.breaker.close()
        await self._client.aclose(close_connection_pool=True)

    async def _probe(self) -> bool:
        """Whether it answers, once it has rested."""
        rested_at = self.breaker.opened_at + self._limits.rest_s
        await asyncio.sleep(max(0.0, rested_at - time.monotonic()))
        try:
            async with asyncio.timeout(self._limits.read_s):
                await self._execute("PING")
        except ResponseError:  # a refusal is an answer
            return True
        except _LOST:
            return False
        return True
