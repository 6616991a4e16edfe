"""Calls to one encoder: within the caller's deadline, within a bound of our own, and ending in typed errors.

Answers are parsed here, because gRPC would log the traceback of bytes that are no message and hand on None.
An encoder that failed to answer is asked for a sign of life before the next call, so that requests about
other images, or about images that are cached here, do not wait for it again. Knows no message by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from decoder_svc.encoders.patience import Patience, Pulse, Silent
from fovea.contract.errors import DeadlineExceeded, EncoderUnavailable, FoveaError, RowsMismatch
from fovea.contract.remote import error_of
from fovea.deadline import Deadline
from fovea.server.call import REQUEST_ID, current_request_id

T = TypeVar("T")
SERVICE = "/fovea.encoder.v1.EncoderService"
RETRY_AFTER_S = 1.0
SIGN_OF_LIFE_S = 1.0
_ENDED = (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError)
"""What gRPC raises where something is sent on a call that has ended."""
CHANNEL = (
    ("grpc.enable_retries", 0),
    # gRPC would wait up to two minutes before it looks again for an encoder that was down. Here it looks more
    # often than a sign of life is waited for, so that the next call finds one that is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A host that is lost, or a process that is stopped, closes no connection.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _on_behalf() -> tuple[tuple[str, str], ...]:
    """The id of the request that causes this call, so that both logs name it alike."""
    request_id = current_request_id()
    return ((REQUEST_ID, request_id),) if request_id else ()


class Link:
    """A channel to one encoder. `pulse` tells how many images it has completed; `lost` hears of each failure
    to answer.
    """

    def __init__(self, address: str, limit_s: float, pulse: Pulse, lost: Callable[[], None]) -> None:
        self.address = address
        self.suspect = False
        self._limit_s = limit_s
        self._silence = Patience(limit_s)
        self._work = Patience(limit_s, pulse)
        self._pulse = pulse
        self._lost = lost
        self._sign_of_life: asyncio.Task[int | None] | None = None
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL)

    async def close(self) -> None:
        await self._channel.close()

    async def ask(
        self, method: str, request: Message, parse: Callable[[bytes], T], deadline: Deadline,
        *, at_most: float | None = None, works: bool = False, connects: bool = False,
    ) -> T:  # fmt: skip
        """A unary call. `works`: it may wait for the tower. `connects`: it may wait for a connection."""
        if at_most is None:
            await self.reach(deadline)
        call = self._unary(method)(
            request,
            timeout=deadline.timeout(at_most),
            metadata=_on_behalf(),
            wait_for_ready=connects,
        )
        patience = self._work if works else self._silence
        data = await self._answered(patience.wait(_result(call)), deadline)
        self.suspect = False
        return self._parsed(data, parse)

    async def send(
        self,
        method: str,
        messages: AsyncIterator[Message],
        parse: Callable[[bytes], T],
        deadline: Deadline,
    ) -> T:
        """An upload. The encoder may answer before all was sent. What `messages` raises is raised here."""
        await self.reach(deadline)
        make = self._channel.stream_unary(f"{SERVICE}/{method}", request_serializer=_serialized)
        call = make(timeout=deadline.timeout(), metadata=_on_behalf())
        reply = asyncio.ensure_future(_result(call))
        feeding = asyncio.ensure_future(self._answered(self._feed(call, messages), deadline))
        try:
            await asyncio.wait({reply, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
            return self._parsed(await self._answered(self._work.wait(reply), deadline), parse)
        finally:
            feeding.cancel()
            call.cancel()
            await asyncio.gather(reply, feeding, return_exceptions=True)

    async def stream(self, method: str, request: Message, deadline: Deadline) -> AsyncGenerator[bytes, None]:
        """The messages of a server stream, whose first may wait for the tower. Closing it ends the call."""
        await self.reach(deadline)
        make = self._channel.unary_stream(f"{SERVICE}/{method}", request_serializer=_serialized)
        call = make(request, timeout=deadline.timeout(), metadata=_on_behalf())
        patience = self._work
        try:
            while (data := await self._answered(patience.wait(call.read()), deadline)) is not grpc.aio.EOF:
                yield data
                patience = self._silence
        finally:
            call.cancel()  # does nothing where the call has ended

    async def reach(self, deadline: Deadline) -> None:
        """Raises EncoderUnavailable where the encoder failed to answer before and gives no sign of life now.
        Concurrent callers wait for one answer.
        """
        if not self.suspect:
            return
        if self._sign_of_life is None or self._sign_of_life.done():
            self._sign_of_life = asyncio.ensure_future(self._pulse())
        deadline.timeout()
        if await asyncio.shield(self._sign_of_life) is None:
            raise self.unreachable()
        self.suspect = False

    def unreachable(self) -> EncoderUnavailable:
        return self._unavailable("cannot be reached")

    def silent(self) -> EncoderUnavailable:
        """Failed to do anything of use within the limit."""
        self._suspect()
        return self._unavailable(f"has made no progress for {self._limit_s:g} s", limit=f"{self._limit_s:g}")

    def _unary(self, method: str) -> Any:
        return self._channel.unary_unary(f"{SERVICE}/{method}", request_serializer=_serialized)

    async def _feed(self, call: grpc.aio.StreamUnaryCall, messages: AsyncIterator[Message]) -> None:
        """Returns early where the call has ended already: its status says how."""
        async for message in messages:
            with suppress(*_ENDED):
                await self._silence.wait(call.write(message))
            if call.done():
                return
        with suppress(*_ENDED):
            await call.done_writing()

    async def _answered(self, work: Awaitable[T], deadline: Deadline) -> T:
        try:
            return await work
        except Silent:
            raise self.silent() from None
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, deadline) from error

    def _parsed(self, data: bytes, parse: Callable[[bytes], T]) -> T:
        try:
            return parse(data)
        except DecodeError:
            raise self.unreadable() from None

    def unreadable(self) -> RowsMismatch:
        return RowsMismatch(f"encoder {self.address} sent bytes that are no message", encoder=self.address)

    def _failure(self, error: grpc.aio.AioRpcError, deadline: Deadline) -> FoveaError:
        """The encoder's own error as it is. A status without our details comes from the link, or from a
        process that is no encoder of ours, or from the caller's deadline.
        """
        remote = error_of(error)
        if remote.received or remote.code is grpc.StatusCode.UNIMPLEMENTED:
            if remote.reason == "ENCODER_MISMATCH":
                self._lost()
            return remote
        if deadline.passed:
            return DeadlineExceeded("the deadline passed while an encoder was asked", encoder=self.address)
        self._suspect()
        return self._unavailable("cannot be reached", status=remote.code.name)

    def _suspect(self) -> None:
        self.suspect = True
        self._lost()

    def _unavailable(self, what: str, **facts: str) -> EncoderUnavailable:
        return EncoderUnavailable(
            f"encoder {self.address} {what}",
            violations=(),
            retry_after_s=RETRY_AFTER_S,
            encoder=self.address,
            **facts,
        )


async def _result(call: Awaitable[T]) -> T:
    return await call
