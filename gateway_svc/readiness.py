"""The decoder's readiness, as its health service reports it. That service needs no token."""

from __future__ import annotations

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

READINESS = "readiness"
ASK_S = 2.0
REUSE_S = 0.5
"""How long an answer of the decoder is reused: whoever asks often does not ask the decoder more often."""


class Readiness:
    """Concurrent callers share a call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = health_pb2_grpc.HealthStub(channel)
        self._asking = asyncio.Lock()
        self._until = 0.0
        self._ready = False

    async def check(self) -> bool:
        async with self._asking:
            if time.monotonic() >= self._until:
                self._ready = await self._ask()
                self._until = time.monotonic() + REUSE_S
            return self._ready

    async def _ask(self) -> bool:
        try:
            reply = await self._stub.Check(health_pb2.HealthCheckRequest(service=READINESS), timeout=ASK_S)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
