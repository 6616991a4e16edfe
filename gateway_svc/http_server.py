"""uvicorn in this process: bind, answer, stop on SIGTERM after the running requests."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from fovea.address import Address
from gateway_svc.connection import ConnectionConfig
from gateway_svc.settings import GatewaySettings
from gateway_svc.tls import server_context

SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 1024
KEEP_ALIVE_S = 75
"""Longer than the minute for which load balancers keep idle connections."""
MAX_HEADER_BYTES = 64 * 1024
POLL_S = 0.01


class _Server(uvicorn.Server):
    """uvicorn, which leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an application at the address of the settings."""

    def __init__(self, app: ASGIApp, config: GatewaySettings) -> None:
        """Raises CredentialsInvalid for TLS files that cannot be used."""
        self._config = config
        context = server_context(config.tls_files())
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._server = _Server(
            ConnectionConfig(
                app,
                max_connections=config.max_connections,
                header_s=config.header_s,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(config.grace_s),
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ssl_context_factory=(lambda *_: context) if context else None,
            )
        )
        self._stopping = asyncio.Event()
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address = config.listen

    async def start(self) -> None:
        """Bind and answer. Raises OSError if the address is in use."""
        self._socket = _bound(self._config.listen)
        if self._socket.family != socket.AF_UNIX:
            host = self._config.listen.rpartition(":")[0]
            self.address = f"{host}:{self._socket.getsockname()[1]}"
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(POLL_S)
        loop = asyncio.get_running_loop()
        for signum in SIGNALS:
            loop.add_signal_handler(signum, self.stop)

    def stop(self) -> None:
        """Start draining. The second call ends running requests at once."""
        if self._stopping.is_set():
            self._server.force_exit = True
        self._stopping.set()

    async def until_stopped(self) -> None:
        """Return on SIGTERM, SIGINT or `stop`."""
        await self._stopping.wait()

    async def drain(self) -> None:
        """Refuse new connections, then wait up to `grace_s` for running requests."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        if self._socket is not None and self._socket.family == socket.AF_UNIX:
            os.unlink(self._config.listen.removeprefix("unix:"))


def _bound(listen: str) -> socket.socket:
    """A listening socket. A second process on the same port fails."""
    try:
        if listen.startswith("unix:"):
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            bound.bind(listen.removeprefix("unix:"))
            return bound
        address = Address.parse(listen)
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        return bound
    except OSError as error:
        raise OSError(f"cannot listen on {listen}: {error.strerror}") from error
