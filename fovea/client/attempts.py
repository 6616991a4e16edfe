"""The attempts of a call on several servers: which server is next, after which pause, and when to give up.

An attempt that failed as UNAVAILABLE goes to the next server at once. Once all have been tried, the client
pauses as gRPC does between retries, and starts over. Nothing is sent again once a part of a response has
arrived. Each attempt gets the time that is left. With a single address the channel itself retries.

If all fail, the caller gets the error of a server that answered, because it says more than that another could
not be reached.
"""

from __future__ import annotations

import random
import time
from math import inf

import grpc

from fovea.client.channel import ATTEMPTS
from fovea.client.pool import Pool, Server
from fovea.contract.errors import DeadlineExceeded, FoveaError, Unreachable

BACKOFF_S = 0.2
JITTER = 0.2


class Attempts:
    """Call `next_server`; after a failure sleep for `pause_s` and repeat."""

    def __init__(self, pool: Pool, key: str, timeout_s: float | None) -> None:
        self._pool = pool
        self._key = key
        self._ends_at = inf if timeout_s is None else time.monotonic() + timeout_s
        self._rounds_left = ATTEMPTS if pool.target.is_several else 1
        self._backoff_s = BACKOFF_S
        self._tried: list[Server] = []
        self._refusal: FoveaError | None = None

    @property
    def timeout_s(self) -> float | None:
        """The time that is left. Raises DeadlineExceeded if there is none."""
        if self._ends_at == inf:
            return None
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before a server could answer")
        return left

    def next_server(self) -> Server:
        server = self._pool.take(self._key, self._tried)
        self._tried.append(server)
        return server

    def pause_s(self, error: FoveaError) -> float:
        """How long to wait before the next attempt. Raises the error if it is final."""
        if error.code is not grpc.StatusCode.UNAVAILABLE:
            raise error
        if not isinstance(error, Unreachable):
            self._refusal = error
        if any(server not in self._tried for server in self._pool.servers()):
            return 0.0
        self._rounds_left -= 1
        if not self._rounds_left:
            raise self._refusal or error
        backoff_s, self._backoff_s = self._backoff_s, 2 * self._backoff_s
        asked_s = (self._refusal or error).retry_after_s
        pause_s = asked_s or backoff_s * random.uniform(1 - JITTER, 1 + JITTER)
        self._tried.clear()
        self._refusal = None
        return min(pause_s, max(0.0, self._ends_at - time.monotonic()))
