"""What surrounds every call: metrics, then the log, then errors; from the outside in.

The order matters: metrics and log must see calls that the error layer refused. `LAYERS` is that order, and a
test holds it. A layer is an async context manager around the handler; `CallInterceptor` alone knows how gRPC
wraps handlers. Health and reflection are counted but not logged.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import structlog

from fovea.contract.errors import FoveaError
from fovea.server import status
from fovea.server.messages import Messages
from fovea.server.metrics import CallMetrics

REQUEST_ID = "x-request-id"
REQUEST_ID_CHARS = 128
IDLE_S = 60.0
QUIET = ("/grpc.health.", "/grpc.reflection.")
log = structlog.get_logger()
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the call that runs in this task."""
    return _request_id.get()


@dataclass
class Call:
    """One RPC as the layers see it; `code` becomes true when the call ends."""

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
        return self.method.startswith(QUIET)

    async def announce(self) -> None:
        """Sends the request id ahead of the first response, and not before there is one: once headers have
        come, no client of gRPC tries a call again. A call that fails without any names its id in the
        details."""
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
    with structlog.contextvars.bound_contextvars(request_id=call.request_id):
        try:
            yield
        finally:
            if not call.quiet:
                elapsed = round((time.monotonic() - call.started) * 1000, 1)
                log.info("call", method=call.method, code=call.code, reason=call.reason, ms=elapsed)


@asynccontextmanager
async def errors(call: Call) -> AsyncIterator[None]:
    """Only errors that we made ourselves reach the client as they are; anything else is INTERNAL."""
    try:
        yield
    except grpc.aio.AbortError:
        call.code = call.context.code().name if call.context.code() else "UNKNOWN"
        raise
    except (asyncio.CancelledError, grpc.aio.BaseError) as gone:
        # gRPC tells a passed deadline and a client that left alike: by cancelling, or by an error of its own
        # where something was about to be sent.
        left = call.context.time_remaining()
        call.code = "DEADLINE_EXCEEDED" if left is not None and left <= 0 else "CANCELLED"
        raise asyncio.CancelledError from gone
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


def clean_id(text: str) -> str:
    """A caller's request id if it is fit for logs and metadata, else one of our own."""
    fit = 0 < len(text) <= REQUEST_ID_CHARS and text.isascii() and text.isprintable()
    return text if fit else uuid.uuid4().hex


def _id_of(request: Any, context: grpc.aio.ServicerContext) -> str:
    inner = getattr(request, "request", request)
    named = getattr(inner, "request_id", "")
    sent = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "")
    return clean_id(named or str(sent))


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Puts the layers around every handler, and reads and writes its messages.

    gRPC is told that every method takes a stream of bytes: only so are requests parsed inside of the layers,
    and calls without a request answered. Clients cannot tell the difference.
    """

    def __init__(self, metrics: CallMetrics, idle_s: float = IDLE_S) -> None:
        self._metrics = metrics
        self._idle_s = idle_s

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        if handler is None:
            return None
        surrounded = _Surrounded(handler, details.method, self._metrics, self._idle_s)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                surrounded.many, response_serializer=handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            surrounded.one, response_serializer=handler.response_serializer
        )


@dataclass(frozen=True)
class _Surrounded:
    """A method's own handler inside of the layers."""

    handler: grpc.RpcMethodHandler
    method: str
    metrics: CallMetrics
    idle_s: float

    async def one(self, _: Any, context: Any) -> Any:
        messages = self._messages(context)
        request, failed = await self._request(messages)
        async with self._layers(request, context) as call:
            if failed is not None:
                raise failed
            handle = self.handler.stream_unary or self.handler.unary_unary
            response = await handle(request, context)
            await call.announce()
            return response

    async def many(self, _: Any, context: Any) -> None:
        messages = self._messages(context)
        request, failed = await self._request(messages)
        async with self._layers(request, context) as call:
            if failed is not None:
                raise failed
            handle = self.handler.stream_stream or self.handler.unary_stream
            async with aclosing(handle(request, context)) as responses:
                async for response in responses:
                    await call.announce()
                    await messages.send(response)

    def _messages(self, context: Any) -> Messages:
        return Messages(
            context,
            self.method,
            self.handler.request_deserializer,
            self.idle_s,
            partial(self.metrics.idle, self.method),
        )

    async def _request(self, messages: Messages) -> tuple[Any, FoveaError | None]:
        """What the handler takes, or why there is none: the layers are entered with the id of the request."""
        if self.handler.request_streaming:
            return (messages.dialogue() if self.handler.response_streaming else messages.all()), None
        try:
            return await messages.only(), None
        except FoveaError as error:
            return None, error

    @asynccontextmanager
    async def _layers(self, request: Any, context: Any) -> AsyncIterator[Call]:
        call = Call(self.method, context, self.metrics, _id_of(request, context))
        _request_id.set(call.request_id)
        async with AsyncExitStack() as stack:
            for layer in LAYERS:
                await stack.enter_async_context(layer(call))
            yield call
