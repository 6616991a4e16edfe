"""A response of server-sent events, sent as they come. An error in between is the last event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fovea.contract.errors import FoveaError
from gateway_svc import gateway
from gateway_svc.error_body import body_of
from gateway_svc.errors import ClientGone

DONE = b"data: [DONE]\n\n"
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}


class EventStream(Response):
    """Sends what a generator of encoded events yields. Whatever ends the response closes the generator."""

    def __init__(
        self, request: Request, events: AsyncGenerator[bytes, None], headers: dict[str, str]
    ) -> None:
        super().__init__(headers=HEADERS | headers)
        self._request = request
        self._events = events
        self._idle_s = gateway.of(request).config.idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                async for data in self._events:
                    await self._send(send, data)
            except FoveaError as error:
                state = self._request.state
                state.reason = error.reason
                await self._send(send, encode({"error": body_of(error, state.request_id)}) + DONE)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, data: bytes) -> None:
        """Raises ClientGone for a client that does not read: its answer is not kept for ever."""
        try:
            async with asyncio.timeout(self._idle_s):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise ClientGone from None


def encode(*events: Any) -> bytes:
    """An event for each of the JSON objects. What is sent together costs a single system call."""
    texts = (json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in events)
    return b"".join(b"data: %b\n\n" % text.encode() for text in texts)
