"""A gRPC server in a process: bind, become ready, drain on SIGTERM.

Health per service starts as NOT_SERVING. `liveness` is SERVING as soon as the process answers and while its
model computes; `readiness` and the service's own name once `ready` was called and while every other condition
is met. Draining updates health first, then refuses new calls, then waits for running calls. `health_listen`
serves health alone, in plain text, for probes that speak no TLS.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from fovea.address import Address
from fovea.server.access import Access
from fovea.server.call import CallInterceptor, Layer
from fovea.server.connections import ConnectionLimits, PublicStreams
from fovea.server.entry import StoppedWhileLoading
from fovea.server.guards import RequestLimits
from fovea.server.health import Health
from fovea.server.metrics import CallMetrics, describe_process
from fovea.server.metrics_server import MetricsServer
from fovea.server.reflection import Pool

if TYPE_CHECKING:
    from fovea.server.otel import Traces

MIN_PING_MS = 5_000
KEEPALIVE_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 20_000
ENDING_S = 2.0
"""For calls that were cut to end."""
log = structlog.get_logger()
SIGNALS = (signal.SIGTERM, signal.SIGINT)
T = TypeVar("T")


@dataclass(frozen=True)
class Binding:
    """Listen addresses, limits, callers and own layers of a server. `host:port` with port 0 picks a free
    port; an empty `metrics_listen` or `health_listen` starts no such server.
    """

    listen: str
    metrics_listen: str
    max_message_bytes: int
    limits: RequestLimits = field(default_factory=RequestLimits)
    access: Access = field(default_factory=Access)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    own_layers: Sequence[Layer] = ()
    traces: Traces | None = None
    health_listen: str = ""

    @property
    def layers(self) -> Sequence[Layer]:
        """Between log and errors: the span of a call outside, so that it covers the service's own layers."""
        return (*((self.traces.layer,) if self.traces else ()), *self.own_layers)


def _options(max_message_bytes: int, connections: ConnectionLimits) -> Sequence[tuple[str, int]]:
    return (
        *connections.options,
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # A second process on the same port must fail, not share it silently.
        ("grpc.so_reuseport", 0),
        # Clients may ping every 10 s, the minimum of grpc-go, with or without calls.
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A caller whose host is lost or whose process is stopped holds its calls no longer than this.
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    )


class ServerProcess:
    """The server kit around a servicer."""

    def __init__(
        self,
        binding: Binding,
        service: str,
        register: Callable[[grpc.aio.Server], None],
        registry: CollectorRegistry,
        more_services: Sequence[str] = (),
    ) -> None:
        self._binding = binding
        describe_process(registry, service)
        services = (service, *more_services)
        self._health = Health(("", *services, "readiness"), ("liveness",))
        public = PublicStreams(binding.connections.max_public_streams)
        self._calls = CallInterceptor(
            CallMetrics(registry), binding.limits, binding.access, public, binding.layers
        )
        self._server = self._new_server()
        register(self._server)
        if binding.access.reflection:
            reflection.enable_server_reflection(
                (*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server, pool=Pool()
            )
        self._probed = self._new_server() if binding.health_listen else None
        self._registry = registry
        self._metrics: MetricsServer | None = None
        self._stopping = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.port = 0

    def _new_server(self) -> grpc.aio.Server:
        """A server of health. The layers are shared, so that limits hold for both servers together."""
        server = grpc.aio.server(
            interceptors=(self._calls,),
            options=_options(self._binding.max_message_bytes, self._binding.connections),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    async def start(self) -> None:
        """Bind and answer, not ready yet. Raises OSError if an address is in use."""
        self.port = _bind(self._server, self._binding.listen, self._binding.access.credentials)
        if self._probed is not None:
            _bind(self._probed, self._binding.health_listen)
        # Before the server runs: a running server must be stopped before an error may be raised.
        if self._binding.metrics_listen:
            self._metrics = await MetricsServer.start(
                Address.parse(self._binding.metrics_listen), self._registry
            )
        await self._server.start()
        if self._probed is not None:
            await self._probed.start()
        loop = asyncio.get_running_loop()
        for signum in SIGNALS:
            loop.add_signal_handler(signum, self.stop)

    async def ready(self) -> None:
        self._health.set("started", True)

    def set_condition(self, name: str, met: bool) -> None:
        """Update another readiness condition; conditions are met until set otherwise."""
        self._health.set(name, met)

    def set_live(self, alive: bool) -> None:
        """Update liveness, which tells a supervisor whether to restart this process."""
        self._health.set_live(alive)

    def stop(self) -> None:
        """Start draining; called by the loop's signal handlers.

        The second call ends running calls at once. A third signal has its default effect.
        """
        if not self._stopping.is_set():
            self._stopping.set()
            return
        loop = asyncio.get_running_loop()
        for signum in SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_DFL)
        self._ending = loop.create_task(self._server.stop(0))

    async def until_stopped(self, failing: Coroutine[Any, Any, Exception]) -> None:
        """Return on SIGTERM, SIGINT or `stop`.

        Raises the result of `failing` if that comes first: a process that can no longer serve exits, so that
        its supervisor restarts it.
        """
        task, stop = asyncio.ensure_future(failing), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            stop.cancel()
            raise task.result()
        task.cancel()

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`. If stopped meanwhile, cancel it and raise StoppedWhileLoading."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            stop.cancel()
            return task.result()
        task.cancel()
        raise StoppedWhileLoading

    async def drain(self, grace_s: float) -> None:
        """Update health, refuse new calls, then wait up to `grace_s` for running calls.

        Calls that are cut then end within moments, and leave their log lines, records and spans.
        """
        log.info("draining", grace_s=grace_s)
        self._health.drain()
        await self._server.stop(grace_s)
        await self._calls.open.until_none(ENDING_S)
        if self._binding.traces is not None:
            await self._binding.traces.close()
        if self._probed is not None:
            await self._probed.stop(0)
        if self._metrics is not None:
            await self._metrics.close()


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
    """The port. Raises OSError if it cannot be had."""
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: is the port in use?") from error
