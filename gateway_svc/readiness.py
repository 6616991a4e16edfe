"""Whether any decoder is ready, as their health services report it. These need no token."""

from __future__ import annotations

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fovea.client import AsyncClient
from fovea.contract.errors import Unreachable

READINESS = "readiness"
ASK_S = 2.0
REUSE_S = 0.5
"""How long an answer is reused: whoever asks often does not ask the decoders more often."""


class Readiness:
    """Concurrent callers share a call."""

    def __init__(self, decoders: AsyncClient) -> None:
        self._decoders = decoders
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
            async with asyncio.timeout(ASK_S):
                channels = await self._decoders.channels()
        except (Unreachable, TimeoutError):
            return False
        return any(await asyncio.gather(*map(_is_ready, channels)))


async def _is_ready(channel: grpc.aio.Channel) -> bool:
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=READINESS), timeout=ASK_S)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
