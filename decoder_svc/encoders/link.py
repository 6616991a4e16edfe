"""Calls to an encoder, bounded by the caller's deadline and by a timeout, with typed errors.

Replies are parsed here, because gRPC would log a traceback for an unparsable message and return None. An
encoder that failed to answer opens its circuit breaker: until it answers a probe, calls fail at once.
Independent of message types.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from decoder_svc.encoders.progress import CompletedCount, NoProgress, ProgressTimeout
from decoder_svc.encoders.refusal import RefusalInvalid, checked_refusal
from decoder_svc.errors import EncoderOutdated
from fovea.access.channel import ClientCredentials, RenewedChannel
from fovea.breaker import Breaker, Probe
from fovea.contract.errors import (
    DeadlineExceeded,
    EncoderMismatch,
    EncoderUnavailable,
    FoveaError,
    NotReady,
    RowsMismatch,
)
from fovea.contract.remote import error_of
from fovea.deadline import Deadline
from fovea.server.access import TENANT_KEY
from fovea.server.call import REQUEST_ID, current_request_id
from fovea.server.identity import current_identity
from fovea.server.tracing import Metadata, traced_call

T = TypeVar("T")
log = structlog.get_logger()
SERVICE = "/fovea.encoder.v1.EncoderService"
RETRY_AFTER_S = 1.0
PROBE_TIMEOUT_S = 1.0
_ENDED = (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError)
"""What gRPC raises on a write to a call that has ended."""
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
CHANNEL = (
    ("grpc.enable_retries", 0),
    # By default gRPC backs off up to two minutes before it reconnects. A backoff shorter than the timeout of
    # a liveness probe lets the next call reach an encoder that is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # An encoder's pod returns under another address. By default gRPC looks a name up twice a minute at most.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    # A lost host or a stopped process does not close its connections.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _request_metadata() -> tuple[tuple[str, str], ...]:
    """The id of the current request, so that the logs of both services share it."""
    request_id = current_request_id()
    return ((REQUEST_ID, request_id),) if request_id else ()


class Link:
    """A channel to an encoder.

    `completed` reads its count of completed images, `serves` whether it could serve now. `lost` is called
    each time it fails to answer. `replaceable` tells whether another encoder can take its calls.
    """

    def __init__(
        self,
        address: str,
        limit_s: float,
        completed: CompletedCount,
        serves: Probe,
        lost: Callable[[], None],
        credentials: ClientCredentials,
        replaceable: Callable[[], bool],
    ) -> None:
        self.address = address
        self.breaker = Breaker(address, serves)
        self._limit_s = limit_s
        self._silence = ProgressTimeout(limit_s, self._shared_count, replaceable=replaceable)
        self._work = ProgressTimeout(limit_s, self._shared_count, queues=True, replaceable=replaceable)
        self._completed = completed
        self._counting: asyncio.Task[int | None] | None = None
        self._lost = lost
        self._credentials = credentials
        self._renewed = RenewedChannel(address, CHANNEL, credentials)

    @property
    def _channel(self) -> grpc.aio.Channel:
        return self._renewed.current()

    async def close(self) -> None:
        await self.breaker.close()
        await self._renewed.close()

    def _metadata(self, tenant: str = "") -> tuple[tuple[str, str], ...]:
        """Credentials, request id, and the tenant that the encoder acts for: that of the current call unless
        it is given, since rows may be fetched in a task of another context.
        """
        acting = (TENANT_KEY, tenant or current_identity().tenant)
        return (*self._credentials.metadata(), acting, *_request_metadata())

    async def call(
        self, method: str, request: Message, parse: Callable[[bytes], T], deadline: Deadline,
        *, at_most: float | None = None, works: bool = False, connects: bool = False, tenant: str = "",
    ) -> T:  # fmt: skip
        """Make a unary call. With `works` it may wait for the tower, with `connects` for a connection."""
        if at_most is None:
            self.check_closed(deadline)
        # The calls that probe an encoder belong to no request, and have no span.
        with self._traced(method) if at_most is None else nullcontext(()) as carried:
            call = self._unary(method)(
                request,
                timeout=deadline.timeout(at_most),
                metadata=(*self._metadata(tenant), *carried),
                wait_for_ready=connects,
            )
            reply = _result(call)
            if at_most is None:  # the call that reads the count must not wait for a count
                reply = _within(self._work if works else self._silence, deadline).wait(reply)
            return self._parsed(await self._answered(reply, deadline), parse)

    async def send(
        self,
        method: str,
        messages: AsyncIterator[Message],
        parse: Callable[[bytes], T],
        deadline: Deadline,
    ) -> T:
        """Upload a stream. The encoder may reply before the end. Exceptions of `messages` propagate."""
        self.check_closed(deadline)
        make = self._channel.stream_unary(f"{SERVICE}/{method}", request_serializer=_serialized)
        with self._traced(method) as carried:
            call = make(timeout=deadline.timeout(), metadata=(*self._metadata(), *carried))
            reply = asyncio.ensure_future(_result(call))
            feeding = asyncio.ensure_future(self._answered(self._feed(call, messages, deadline), deadline))
            try:
                await asyncio.wait({reply, feeding}, return_when=asyncio.FIRST_COMPLETED)
                if feeding.done():
                    feeding.result()
                return self._parsed(await self._answered(self._work.wait(reply), deadline), parse)
            finally:
                feeding.cancel()
                call.cancel()
                await asyncio.gather(reply, feeding, return_exceptions=True)

    async def stream(
        self, method: str, request: Message, deadline: Deadline, tenant: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Yield the messages of a server stream; the first may wait for the tower. Closing ends the call."""
        self.check_closed(deadline)
        make = self._channel.unary_stream(f"{SERVICE}/{method}", request_serializer=_serialized)
        with self._traced(method) as carried:
            metadata = (*self._metadata(tenant), *carried)
            call = make(request, timeout=deadline.timeout(), metadata=metadata)
            timeout = _within(self._work, deadline)
            try:
                while (data := await self._answered(timeout.wait(call.read()), deadline)) is not grpc.aio.EOF:
                    yield data
                    timeout = _within(self._silence, deadline)
            finally:
                call.cancel()  # a no-op if the call has ended

    def _traced(self, method: str) -> AbstractContextManager[Metadata]:
        return traced_call(f"{SERVICE}/{method}", self.address)

    def check_closed(self, deadline: Deadline) -> None:
        """Raises EncoderUnavailable while the breaker is open."""
        deadline.timeout()
        if self.breaker.open:
            raise self.unreachable()

    async def _shared_count(self) -> int | None:
        """The count of completed images, read once for all calls that wait (single flight)."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(_result(self._completed()))
        return await asyncio.shield(self._counting)

    def unreachable(self) -> EncoderUnavailable:
        return self._unavailable("cannot be reached")

    def silent(self) -> EncoderUnavailable:
        """The error for an encoder without progress within the timeout."""
        self.trip()
        return self._unavailable(f"has made no progress for {self._limit_s:g} s", limit=f"{self._limit_s:g}")

    def _overdue(self) -> EncoderUnavailable:
        """The error for an attempt that leaves the rest of the time to another encoder. This encoder may be
        well: the caller may have little time.
        """
        return self._unavailable("has made no progress in its share of the time")

    def _unary(self, method: str) -> Any:
        return self._channel.unary_unary(f"{SERVICE}/{method}", request_serializer=_serialized)

    async def _feed(
        self, call: grpc.aio.StreamUnaryCall, messages: AsyncIterator[Message], deadline: Deadline
    ) -> None:
        """Send the messages. Returns early if the call has ended; its status tells the cause."""
        async for message in messages:
            with suppress(*_ENDED):
                await _within(self._silence, deadline).wait(call.write(message))
            if call.done():
                return
        with suppress(*_ENDED):
            await call.done_writing()

    async def _answered(self, work: Awaitable[T], deadline: Deadline) -> T:
        try:
            return await work
        except NoProgress as error:
            gives_way = not error.dead and _within(self._silence, deadline) is not self._silence
            raise (self._overdue() if gives_way else self.silent()) from None
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, deadline) from error

    def _parsed(self, data: bytes, parse: Callable[[bytes], T]) -> T:
        try:
            return parse(data)
        except DecodeError:
            raise self.unreadable() from None

    def unreadable(self) -> RowsMismatch:
        return RowsMismatch("an encoder sent bytes that are no message")

    def _failure(self, error: grpc.aio.AioRpcError, deadline: Deadline) -> FoveaError:
        """The typed error of a failed call. An error with our details is checked and passes. Other statuses
        come from the connection, from a process that is not our encoder, or from the caller's deadline.
        """
        remote = error_of(error)
        if remote.code in _REFUSED:
            return self._refused(remote)
        if remote.received:
            return self._relayed(remote)
        if remote.code is grpc.StatusCode.UNIMPLEMENTED:
            return EncoderOutdated()
        if deadline.passed:
            return DeadlineExceeded("the deadline passed while an encoder was asked")
        self.trip()
        return self._unavailable("cannot be reached", status=remote.code.name)

    def _refused(self, remote: FoveaError) -> EncoderUnavailable:
        """The error for refused credentials of this decoder; the caller's own are not at fault.

        A decoder that may not act for a tenant still serves its other tenants: the breaker stays closed.
        """
        if not self.breaker.open:
            log.error("encoder refuses this decoder", encoder=self.address, reason=remote.reason)
        if not remote.received or remote.code is grpc.StatusCode.UNAUTHENTICATED:
            self.trip()
        return self._unavailable("refuses the credentials of this decoder", status=remote.code.name)

    def _relayed(self, remote: FoveaError) -> FoveaError:
        """An encoder's refusal, fit for the caller; a failure of the encoder if it can be none."""
        if remote.reason == EncoderMismatch.reason:
            self._lost()
        if remote.reason == NotReady.reason:
            self.trip()
        try:
            return checked_refusal(remote)
        except RefusalInvalid:
            log.warning(
                "encoder_sent_an_invalid_status",
                encoder=self.address,
                status=remote.code.name,
                reason=remote.reason,
            )
            return self._unavailable("failed", status=remote.code.name)

    def trip(self) -> None:
        """Note that the encoder does not answer."""
        self.breaker.trip()
        self._lost()

    def _unavailable(self, what: str, **facts: str) -> EncoderUnavailable:
        return EncoderUnavailable(f"an encoder {what}", violations=(), retry_after_s=RETRY_AFTER_S, **facts)


def _within(timeout: ProgressTimeout, deadline: Deadline) -> ProgressTimeout:
    """The timeout itself, unless the attempt must give way sooner."""
    patience_s = deadline.patience_s
    return timeout if patience_s >= timeout.limit_s else replace(timeout, limit_s=patience_s)


async def _result(call: Awaitable[T]) -> T:
    return await call
