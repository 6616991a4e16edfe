"""What surrounds every request, from the outside in: id, log and metrics, errors, admission.

A request is refused for its host, its token or the load before its body is read.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fovea.access.files import Reloaded
from fovea.contract.errors import FoveaError
from fovea.server.guards import BytesInFlight
from fovea.server.identity import TRUSTED, set_identity
from fovea.server.tokens import Tokens
from gateway_svc.caller import REQUEST_ID, caller_of, identify, request_id_of
from gateway_svc.error_body import CLIENT_CLOSED, respond, unexpected
from gateway_svc.errors import ClientGone, GatewayBusy
from gateway_svc.metrics import GatewayMetrics
from gateway_svc.origin import OriginGuard
from gateway_svc.settings import GatewaySettings

TENANT_SHARE = 0.5
PUBLIC = ("/healthz", "/readyz")
QUIET = PUBLIC
"""Paths that are counted but not logged."""
PAGE = ("/page", "/favicon")
log = structlog.get_logger()


def is_public(path: str) -> bool:
    """Whether a path needs no token: health, and the files of the page, which hold nothing of a tenant."""
    return path in PUBLIC or path == "/" or (path.startswith(PAGE) and not path.startswith("/page/api/"))


class Layers:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        config: GatewaySettings,
        tokens: Reloaded[Tokens] | None,
        metrics: GatewayMetrics,
    ) -> None:
        self._app = app
        self._config = config
        self._tokens = tokens
        self._metrics = metrics
        self._origin = OriginGuard(config)
        self._bodies = BytesInFlight(config.max_in_flight_bytes, TENANT_SHARE if tokens else 1.0)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no WebSocket is served
            return
        headers = Headers(scope=scope)
        state = scope["state"]
        state["request_id"] = request_id_of(headers)
        state["reason"] = ""
        answer = _Answer(send, state["request_id"])
        started = time.monotonic()
        set_identity(TRUSTED)  # the task may have served another request of the connection
        with self._metrics.running():
            try:
                await self._admitted(scope, receive, answer.send)
            except ClientGone:
                answer.status = CLIENT_CLOSED
            except Exception as error:
                await self._fail(error, scope, receive, answer)
            finally:
                self._end(scope, answer, time.monotonic() - started)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, state, config = Headers(scope=scope), scope["state"], self._config
        self._origin.check(headers)
        state["caller"] = caller_of(headers, state["request_id"], config.timeout_s)
        if self._tokens is not None and not is_public(scope["path"]):
            identify(state["caller"], self._tokens.get())
        if self._running >= config.max_requests:
            raise GatewayBusy(config.max_requests)
        self._running += 1
        try:
            with self._bodies.held() as state["hold"]:
                await self._app(scope, receive, send)
        finally:
            self._running -= 1

    async def _fail(self, error: Exception, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Answer with the error. Once an answer has begun, only its end can tell."""
        known = error if isinstance(error, FoveaError) else unexpected(error)
        scope["state"]["reason"] = known.reason
        if answer.status:
            raise known
        response = respond(known, scope["path"], scope["state"]["request_id"])
        await response(scope, receive, answer.send)

    def _end(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = getattr(scope.get("endpoint"), "label", "") or _prefix(scope["path"])
        status = answer.status or CLIENT_CLOSED
        self._metrics.ended(route, scope["method"], status, seconds)
        if route in QUIET:
            return
        state: MutableMapping[str, Any] = scope["state"]
        reason = {"reason": state["reason"]} if state["reason"] else {}
        log.info(
            "request",
            request_id=state["request_id"],
            method=scope["method"],
            route=route,
            status=status,
            ms=round(1000 * seconds, 1),
            **reason,
        )


def _prefix(path: str) -> str:
    """The label of an endpoint without one, and of unknown paths: there must be few labels."""
    return "/page" if path.startswith("/page") else "other"


class _Answer:
    """The response as it is sent: its status, and the headers that every response carries."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.status = 0
        self._send = send
        self._request_id = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._request_id
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("cache-control", "no-store")
        await self._send(message)
