"""Bounds on connections and their streams, most of them enforced by gRPC's core before Python sees a call.

A stranger costs a connection at most: a silent connection is closed after HANDSHAKE_MS, an idle connection
after `connection_idle_s`, a connection too many at once. Public streams, which need no token and may stay
open, are counted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fovea.contract.errors import TooManyStreams

HANDSHAKE_MS = 10_000
"""For TLS and the first settings of HTTP/2, until which a connection has sent no call."""


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What connections may hold. Each field has a setting and a limit of GetServerInfo of its name."""

    max_connections: int = 1024
    max_connection_streams: int = 256
    connection_idle_s: int = 600
    max_metadata_bytes: int = 16 * 1024
    max_public_streams: int = 256

    @property
    def options(self) -> Sequence[tuple[str, int]]:
        """The channel arguments of gRPC's core.

        By default the core refuses metadata at random between two limits; here both are the same. Its
        overload protection refuses calls of clients that obey the limit on streams, because an ended stream
        still counts until it is freed.
        """
        return (
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.max_concurrent_streams", self.max_connection_streams),
            ("grpc.http.overload_protection", 0),
            ("grpc.max_connection_idle_ms", self.connection_idle_s * 1000),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ("grpc.http2.settings_timeout", HANDSHAKE_MS),
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
        )


class PublicStreams:
    """Open streams of health and reflection, whose callers need no token. Lives in a single event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count a stream for the block. Raises TooManyStreams."""
        if self.open >= self.limit:
            raise TooManyStreams(self.limit, self.open + 1)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
