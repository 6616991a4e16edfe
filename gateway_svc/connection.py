"""A connection of uvicorn, with bounds that uvicorn lacks: how many are open, how long a header may take.

A refusal before the application sees a request has the shape of every other error.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from fovea.contract.errors import FoveaError
from gateway_svc.error_body import respond
from gateway_svc.errors import BodyInvalid, HeaderSlow, TooManyConnections

LINGER_S = 1.0
"""How long a refused connection still reads. A reset by unread bytes can destroy the answer."""


class ConnectionConfig(uvicorn.Config):
    """uvicorn's configuration with our bounds."""

    def __init__(self, app: ASGIApp, max_connections: int, header_s: int, **options: Any) -> None:
        super().__init__(app, http=Connection, **options)
        self.max_connections = max_connections
        self.header_s = header_s
        self.lingering: set[Connection] = set()


class Connection(H11Protocol):
    """HTTP/1.1 on one connection."""

    config: ConnectionConfig
    _header_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limit = self.config.max_connections
        if len(self.connections) > limit:
            self._refuse(TooManyConnections(limit))
        else:
            self._time_header()

    def data_received(self, data: bytes) -> None:
        if self._linger_timer is None:
            super().data_received(data)
            self._time_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.lingering.discard(self)
        self._stop_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to bytes that are no HTTP request."""
        self._refuse(BodyInvalid("is no HTTP request"))

    def _time_header(self) -> None:
        """Run the timer while a header is on its way. Idle connections are ended by uvicorn's keep-alive."""
        ended = self._linger_timer is not None or self.transport.is_closing()
        if ended or self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.config.header_s, self._header_late)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_late(self) -> None:
        """Close. Browsers open connections in advance: one that sent nothing gets no answer."""
        if self.conn.trailing_data[0]:
            self._refuse(HeaderSlow(self.config.header_s))
        else:
            self.transport.close()

    def _refuse(self, error: FoveaError) -> None:
        """Answer with the error, and close once it can have been read."""
        answer = respond(error, "", "")
        headers = [*answer.raw_headers, (b"connection", b"close")]
        reason = STATUS_PHRASES[answer.status_code]
        head = h11.Response(status_code=answer.status_code, headers=headers, reason=reason)
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def _linger(self) -> None:
        """Close after LINGER_S, or once the peer has. At once if a request runs, which is cancelled."""
        config, transport, cycle = self.config, self.transport, self.cycle
        runs = cycle is not None and not cycle.response_complete
        if runs:  # as uvicorn does once the connection is lost; before, it could answer a second time
            cycle.disconnected = True
            cycle.message_event.set()
        if runs or len(config.lingering) >= config.max_connections:
            transport.close()
            return
        config.lingering.add(self)
        self.connections.discard(self)
        if transport.can_write_eof():  # TLS cannot; the answer has a length
            transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_S, transport.abort)
