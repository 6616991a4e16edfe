"""grpc.health.v1: what this server says of itself, name by name.

Unlike the servicer of `grpc_health` its watches end once they were told of the draining, because load
balancers watch for as long as they live and would hold up every shutdown. Knows no server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """`ready_names` are served while every condition is met and nothing drains; `live_names` as long as the
    process is. `started` is the first condition.
    """

    def __init__(self, ready_names: tuple[str, ...], live_names: tuple[str, ...]) -> None:
        self._ready_names = ready_names
        self._status = dict.fromkeys(ready_names, NOT_SERVING) | dict.fromkeys(live_names, SERVING)
        self._unmet = {"started"}
        self._draining = False
        self._changed = asyncio.Event()

    def set(self, condition: str, met: bool) -> None:
        """Serve while all that was ever named is met; too late once draining has begun."""
        self._unmet = self._unmet - {condition} if met else self._unmet | {condition}
        if not self._draining:
            self._set(NOT_SERVING if self._unmet else SERVING)

    def drain(self) -> None:
        self._draining = True
        self._set(NOT_SERVING)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._status:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return health_pb2.HealthCheckResponse(status=self._status[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told = None
        while True:
            changed, status = self._changed, self._status.get(request.service, UNKNOWN)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
            if self._draining:
                return
            told = status
            await changed.wait()

    def _set(self, status: int) -> None:
        self._status.update(dict.fromkeys(self._ready_names, status))
        self._changed.set()
        self._changed = asyncio.Event()
