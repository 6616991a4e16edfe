"""grpc.health.v1: the serving status of this server, by service name.

Unlike `grpc_health`'s servicer, watches end after they have reported draining: load balancers watch for as
long as they live and would delay every shutdown. Independent of the server.
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
    """`ready_names` are SERVING while every condition is met and the server is not draining.

    `live_names` are SERVING until `set_live` says otherwise. `started` is the first condition.
    """

    def __init__(self, ready_names: tuple[str, ...], live_names: tuple[str, ...]) -> None:
        self._ready_names = ready_names
        self._live_names = live_names
        self._status = dict.fromkeys(ready_names, NOT_SERVING) | dict.fromkeys(live_names, SERVING)
        self._unmet = {"started"}
        self._draining = False
        self._changed = asyncio.Event()

    def set(self, condition: str, met: bool) -> None:
        """Update a condition. No effect once draining has begun."""
        self._unmet = self._unmet - {condition} if met else self._unmet | {condition}
        if not self._draining:
            self._set(self._ready_names, not self._unmet)

    def set_live(self, alive: bool) -> None:
        self._set(self._live_names, alive)

    def drain(self) -> None:
        self._draining = True
        self._set(self._ready_names, False)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._status:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return health_pb2.HealthCheckResponse(status=self._status[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        last_status = None
        while True:
            changed, status = self._changed, self._status.get(request.service, UNKNOWN)
            if status != last_status:
                yield health_pb2.HealthCheckResponse(status=status)
            if self._draining:
                return
            last_status = status
            await changed.wait()

    def _set(self, names: tuple[str, ...], serving: bool) -> None:
        self._status.update(dict.fromkeys(names, SERVING if serving else NOT_SERVING))
        self._changed.set()
        self._changed = asyncio.Event()
