"""The messages of a call: parsed inside of the layers, with an idle timeout.

gRPC parses requests outside of interceptors, so malformed bytes would end a call as UNKNOWN with Python's
text; and it never answers a unary call that is half-closed without a message. Here requests are read as bytes
inside of the layers, and both cases are typed errors. A caller that neither sends nor reads for `idle_s` gets
CallIdle, because an open call holds memory and, in a decoder, KV blocks.

An upload that is answered before its end is read on for a moment (a lingering close): a status that arrives
while the asyncio client of gRPC for Python writes is lost there, as INTERNAL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import grpc
from google.protobuf.message import DecodeError

from fovea.contract.errors import CallIdle, InvalidArgument
from fovea.server.guards import RequestLimits, check_field_count

LINGER_S = 1.0
LONGEST = 10
Parse = Callable[[bytes], Any] | None
Side = Literal["send", "read"]


@dataclass
class Messages:
    """Both directions of a call. `idle` is called with the side that timed out, `hold` with the bytes that
    each request holds.
    """

    context: grpc.aio.ServicerContext
    method: str
    parse: Parse
    limits: RequestLimits
    idle: Callable[[Side], None]
    hold: Callable[[int], None]
    _ended: bool = False

    async def only(self) -> Any:
        """The request of a unary call. Raises InvalidArgument, CallIdle."""
        data = await self._receive()
        if data is grpc.aio.EOF:
            # A caller that cancels also ends its requests, and gRPC reports the cancellation a moment later.
            await asyncio.sleep(0)
            if self.context.cancelled():
                raise asyncio.CancelledError
            raise self._invalid("the call ended without a request")
        self._ended = True
        return self._parsed(data)

    async def all(self) -> AsyncIterator[Any]:
        """The requests of a client stream, such as an upload, which must end within LONGEST idle times."""
        last = time.monotonic() + LONGEST * self.limits.idle_s
        while (data := await self._receive()) is not grpc.aio.EOF:
            if time.monotonic() > last:
                raise self._idle("send")
            yield self._parsed(data)

    async def drain(self) -> None:
        """Read what is left of an upload and discard it, for LINGER_S at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._ended:
                    self._ended = await self.context.read() is grpc.aio.EOF

    async def dialogue(self) -> AsyncIterator[Any]:
        """The requests of a bidirectional stream, which may be idle after the first request."""
        data = await self._receive()
        while data is not grpc.aio.EOF:
            yield self._parsed(data)
            data = await self.context.read()

    async def send(self, response: Any) -> None:
        """Returns once gRPC has accepted the response; it does not while the caller does not read."""
        try:
            async with asyncio.timeout(self.limits.idle_s):
                await self.context.write(response)
        except TimeoutError:
            raise self._idle("read") from None

    async def _receive(self) -> Any:
        try:
            async with asyncio.timeout(self.limits.idle_s):
                data = await self.context.read()
        except TimeoutError:
            self._ended = True
            raise self._idle("send") from None
        self._ended = data is grpc.aio.EOF
        if not self._ended:
            self.hold(len(data))
        return data

    def _parsed(self, data: bytes) -> Any:
        if self.parse is None:
            return data
        kind = getattr(self.parse, "__self__", None)  # FromString is a class method of the message
        if kind is not None:
            check_field_count(data, kind, self.limits.max_fields)
        try:
            return self.parse(data)
        except DecodeError:
            raise self._invalid("the request is not a message of this method") from None

    def _invalid(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{message}: {self.method}", method=self.method)

    def _idle(self, side: Side) -> CallIdle:
        self.idle(side)
        return CallIdle(side, self.limits.idle_s)
