"""Serves metrics over HTTP in the event loop: strangers who connect cost no thread, and no connection lasts.

prometheus_client's own server takes a thread per connection, without a limit. The exposition format and its
negotiation are prometheus_client's. Values are collected in the event loop, because gauges read its state;
a thread encodes them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

from fovea.address import Address

REQUEST_S = 5.0
REQUEST_BYTES = 16 * 1024
MAX_CONNECTIONS = 64
_GONE = (
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    asyncio.CancelledError,  # at the end of the process; asyncio's streams would log it
)


@dataclass(frozen=True)
class _Collected:
    """The metrics of a moment; stands for the registry in an encoder."""

    metrics: list[Metric]

    def collect(self) -> Iterator[Metric]:
        return iter(self.metrics)


class MetricsServer:
    """Answers every GET with the metrics and closes the connection."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._connections = 0
        self._server: asyncio.Server | None = None

    @classmethod
    async def start(cls, address: Address, registry: CollectorRegistry) -> MetricsServer:
        """Bind and answer. Raises OSError if the address is in use."""
        metrics = cls(registry)
        try:
            metrics._server = await asyncio.start_server(
                metrics._handle, address.host, address.port, limit=REQUEST_BYTES
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error.strerror
            raise OSError(f"cannot serve metrics on {address.host}:{address.port}: {reason}") from error
        return metrics

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        writer.transport.set_write_buffer_limits(0)  # so that `drain` waits for the whole answer
        try:
            with suppress(*_GONE):
                if self._connections <= MAX_CONNECTIONS:
                    async with asyncio.timeout(REQUEST_S):
                        writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
                        await writer.drain()
        finally:
            self._connections -= 1
            if writer.transport.get_write_buffer_size():  # nobody reads it: a close would wait
                writer.transport.abort()
            writer.close()

    async def _answer(self, request: bytes) -> bytes:
        if not request.startswith(b"GET "):
            return b"HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        encode: Callable[[_Collected], bytes]
        encode, content_type = choose_encoder(_header(request, b"accept"))
        body = await asyncio.to_thread(encode, _Collected(list(self._registry.collect())))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"Connection: close\r\n\r\n" + body


def _header(request: bytes, name: bytes) -> str:
    """The value of a header; empty if there is none."""
    for line in request.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""
