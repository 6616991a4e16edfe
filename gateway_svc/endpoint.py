"""An endpoint: reads the body, runs the handler, sends its response; stops as soon as the client has gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway_svc.body import read_json
from gateway_svc.disconnect import unless_gone
from gateway_svc.fields import Fields

Reader = Callable[[Request], Awaitable[Any]]


class Endpoint:
    """An ASGI application. The handler takes the request, and the body as `read` returns it."""

    def __init__(
        self, handler: Callable[..., Awaitable[Response]], read: Reader | None = None, label: str = ""
    ) -> None:
        """`label` is the endpoint's name in metrics and logs, its path."""
        self.label = label
        self._handler = handler
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        body = (await self._read(request),) if self._read else ()

        async def work() -> None:
            response = await self._handler(request, *body)
            await response(scope, receive, send)

        await unless_gone(receive, work())


def route(path: str, handler: Callable[[Request], Awaitable[Response]], method: str = "GET") -> Route:
    """A request without a body."""
    return Route(path, Endpoint(handler, label=path), methods=[method])


def json_route(path: str, handler: Callable[[Request, Fields], Awaitable[Response]]) -> Route:
    """POST of a JSON object."""
    return Route(path, Endpoint(handler, read_json, path), methods=["POST"])
