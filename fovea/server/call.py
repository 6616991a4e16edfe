"""The layers around every call, from the outside in: metrics, log, errors.

The order matters: metrics and log must see calls that the error layer refused. `LAYERS` holds the order, and
a test asserts it. A layer is an async context manager around the handler; only `CallInterceptor` knows how
gRPC wraps handlers. Callers are identified before their request is read, and refused inside of the layers.
Health and reflection calls are counted but not logged.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import structlog

from fovea.contract.errors import FoveaError
from fovea.server import status
from fovea.server.access import Access, is_public
from fovea.server.connections import ConnectionLimits, PublicStreams
from fovea.server.guards import BytesInFlight, RequestLimits, refuse_large
from fovea.server.identity import current_identity
from fovea.server.messages import Messages
from fovea.server.metrics import CallMetrics
from fovea.server.open_calls import OpenCalls

REQUEST_ID = "x-request-id"
REQUEST_ID_CHARS = 128
TENANT_SHARE = 0.5
log = structlog.get_logger()
_request_id: ContextVar[str] = ContextVar("request_id", default="")

TRANSIT_S = 0.02
"""The most that a request takes to arrive, for `has_expired`."""
ROUNDING = 0.01
"""gRPC sends a deadline with two or three digits, rounded up by as much as this part."""


def current_request_id() -> str:
    """The request id of the call that runs in this task."""
    return _request_id.get()


@dataclass
class Call:
    """An RPC as the layers see it; `code` is valid when the call ends."""

    method: str
    context: grpc.aio.ServicerContext
    metrics: CallMetrics
    request_id: str
    code: str = "OK"
    reason: str = ""
    started: float = field(default_factory=time.monotonic)
    announced: bool = False

    @property
    def quiet(self) -> bool:
        return is_public(self.method)

    async def announce(self) -> None:
        """Send the request id ahead of the first response.

        Not earlier: after headers gRPC clients no longer retry. A call that fails before its first response
        carries its id in the status details.
        """
        if not (self.announced or self.quiet):
            self.announced = True
            await self.context.send_initial_metadata(((REQUEST_ID, self.request_id),))


@asynccontextmanager
async def counted(call: Call) -> AsyncIterator[None]:
    call.metrics.started(call.method)
    try:
        yield
    finally:
        call.metrics.handled(call.method, call.code, time.monotonic() - call.started)


@asynccontextmanager
async def logged(call: Call) -> AsyncIterator[None]:
    caller = current_identity().log_fields
    with structlog.contextvars.bound_contextvars(request_id=call.request_id, **caller):
        try:
            yield
        finally:
            if not call.quiet:
                elapsed = round((time.monotonic() - call.started) * 1000, 1)
                log.info("call", method=call.method, code=call.code, reason=call.reason, ms=elapsed)


@asynccontextmanager
async def errors(call: Call) -> AsyncIterator[None]:
    """Pass FoveaErrors to the client; every other exception becomes INTERNAL."""
    try:
        yield
    except grpc.aio.AbortError:
        call.code = call.context.code().name if call.context.code() else "UNKNOWN"
        raise
    except (asyncio.CancelledError, grpc.aio.BaseError) as disconnected:
        # gRPC reports an expired deadline and a disconnected client alike: by cancellation, or by an error
        # of its own if a message was about to be sent.
        expired = has_expired(call.context.time_remaining(), time.monotonic() - call.started)
        call.code = "DEADLINE_EXCEEDED" if expired else "CANCELLED"
        raise asyncio.CancelledError from disconnected
    except FoveaError as error:
        call.code, call.reason = error.code.name, error.reason
        if error.code is grpc.StatusCode.INTERNAL:
            log.error("failed", reason=error.reason, message=error.message, exc_info=True)
        await status.abort(call.context, error, call.request_id)
    except Exception:
        call.code, call.reason = "INTERNAL", "INTERNAL"
        log.exception("defect", method=call.method)
        await status.abort(call.context, FoveaError(status.INTERNAL_TEXT), call.request_id)


Layer = Callable[[Call], AbstractAsyncContextManager[None]]
LAYERS: tuple[Layer, ...] = (counted, logged, errors)
"""A service may add layers of its own, which stand between log and errors."""


def has_expired(remaining_s: float | None, elapsed_s: float) -> bool:
    """Whether a cancelled call has met its deadline, of which `remaining_s` are left by our clock.

    The caller's deadline passes first: its clock starts before the request is sent, and gRPC rounds up what
    it sends of the deadline.
    """
    return remaining_s is not None and remaining_s <= TRANSIT_S + ROUNDING * elapsed_s


def clean_id(text: str) -> str:
    """The caller's request id if it is fit for logs and metadata, otherwise a new id."""
    fit = 0 < len(text) <= REQUEST_ID_CHARS and text.isascii() and text.isprintable()
    return text if fit else uuid.uuid4().hex


def _id_of(request: Any, context: grpc.aio.ServicerContext) -> str:
    inner = getattr(request, "request", request)
    in_message = getattr(inner, "request_id", "")
    in_metadata = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "")
    return clean_id(in_message or str(in_metadata))


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler in the layers, and decodes its requests.

    Every method is registered as a stream of bytes, so that requests are parsed inside of the layers and
    calls without a request are answered. Clients cannot tell the difference.
    """

    def __init__(
        self,
        metrics: CallMetrics,
        limits: RequestLimits | None = None,
        access: Access | None = None,
        public_streams: PublicStreams | None = None,
        own_layers: Sequence[Layer] = (),
    ) -> None:
        self._metrics = metrics
        self._limits = limits or RequestLimits()
        self._access = access or Access()
        self._layers = (*LAYERS[:-1], *own_layers, LAYERS[-1])
        share = TENANT_SHARE if self._access.tokens else 1.0
        self._public_streams = public_streams or PublicStreams(ConnectionLimits.max_public_streams)
        self._in_flight = BytesInFlight(self._limits.max_bytes, share)
        self.open = OpenCalls()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        if handler is None:
            return None
        layered = _LayeredHandler(
            handler,
            details.method,
            self._metrics,
            self._limits,
            self._in_flight,
            self._access,
            self._public_streams,
            self._layers,
            self.open,
        )
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                layered.stream, response_serializer=handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            layered.unary, response_serializer=handler.response_serializer
        )


@dataclass(frozen=True)
class _LayeredHandler:
    """A method's handler inside of the layers."""

    handler: grpc.RpcMethodHandler
    method: str
    metrics: CallMetrics
    limits: RequestLimits
    in_flight: BytesInFlight
    access: Access
    public_streams: PublicStreams
    layers: Sequence[Layer]
    open: OpenCalls

    async def unary(self, _: Any, context: Any) -> Any:
        async with self._begun(context) as (call, messages, request):
            if self.handler.request_streaming:
                response = await self._upload(request, context, messages)
            else:
                response = await self.handler.unary_unary(request, context)
            await call.announce()
            return response

    async def _upload(self, requests: Any, context: Any, messages: Messages) -> Any:
        """The response to a client stream, once the rest of the stream was read."""
        try:
            response = await self.handler.stream_unary(requests, context)
        except FoveaError as error:
            failure = error.with_traceback(None)  # its frames hold the upload
        else:
            await messages.drain()
            return response
        await messages.drain()
        raise failure

    async def stream(self, _: Any, context: Any) -> None:
        async with self._begun(context) as (call, messages, request):
            handle = self.handler.stream_stream or self.handler.unary_stream
            async with aclosing(handle(request, context)) as responses:
                async for response in responses:
                    await call.announce()
                    await messages.send(response)

    async def _request(self, messages: Messages, stack: AsyncExitStack) -> tuple[Any, BaseException | None]:
        """The handler's input, or the error to raise inside of the layers, which need the request's id.

        The error of a caller that has left is CancelledError: its call is counted and recorded as well.
        """
        try:
            if is_public(self.method) and self.handler.response_streaming:
                stack.enter_context(self.public_streams.held())
            self.access.authorize(self.method, messages.context.invocation_metadata() or ())
            if self.handler.request_streaming:
                return (messages.dialogue() if self.handler.response_streaming else messages.all()), None
            return await messages.only(), None
        except (FoveaError, asyncio.CancelledError) as error:
            return None, error

    @asynccontextmanager
    async def _begun(self, context: Any) -> AsyncIterator[tuple[Call, Messages, Any]]:
        """The call inside of the layers, with its messages and the handler's input."""
        parse, idle = self.handler.request_deserializer, partial(self.metrics.idle, self.method)
        async with AsyncExitStack() as stack:
            stack.enter_context(self.open.held())
            public = is_public(self.method)
            hold = refuse_large if public else stack.enter_context(self.in_flight.held())
            limits = self.limits.of_public if public else self.limits
            messages = Messages(context, self.method, parse, limits, idle, hold)
            request, failed = await self._request(messages, stack)
            call = Call(self.method, context, self.metrics, _id_of(request, context))
            _request_id.set(call.request_id)
            for layer in self.layers:
                await stack.enter_async_context(layer(call))
            if failed is not None:
                if self.handler.request_streaming and isinstance(failed, FoveaError):
                    await messages.drain()
                raise failed
            yield call, messages, request
