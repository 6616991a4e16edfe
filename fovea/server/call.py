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
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog

from fovea.contract.errors import FoveaError
from fovea.server import status
from fovea.server.metrics import CallMetrics

REQUEST_ID = "x-request-id"
REQUEST_ID_CHARS = 128
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
    except asyncio.CancelledError:
        # gRPC tells a passed deadline and a client that left alike.
        left = call.context.time_remaining()
        call.code = "DEADLINE_EXCEEDED" if left is not None and left <= 0 else "CANCELLED"
        raise
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
    """Puts the layers around every handler and the request id into the initial metadata."""

    def __init__(self, metrics: CallMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        if handler is None:
            return None
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        method = details.method
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._one(handler.unary_unary, method), **coders)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._one(handler.stream_unary, method), **coders)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._many(handler.unary_stream, method), **coders)
        return grpc.stream_stream_rpc_method_handler(self._many(handler.stream_stream, method), **coders)

    async def _enter(self, stack: AsyncExitStack, method: str, request: Any, context: Any) -> Call:
        call = Call(method, context, self._metrics, _id_of(request, context))
        _request_id.set(call.request_id)
        for layer in LAYERS:
            await stack.enter_async_context(layer(call))
        return call

    def _one(self, handler: Callable[..., Awaitable[Any]], method: str) -> Callable[..., Awaitable[Any]]:
        async def handle(request: Any, context: Any) -> Any:
            async with AsyncExitStack() as stack:
                call = await self._enter(stack, method, request, context)
                response = await handler(request, context)
                await call.announce()
                return response

        return handle

    def _many(self, handler: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
            async with AsyncExitStack() as stack:
                call = await self._enter(stack, method, request, context)
                async for response in handler(request, context):
                    await call.announce()
                    yield response

        return handle
