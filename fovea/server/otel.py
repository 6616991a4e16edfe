"""Traces with OpenTelemetry: a server span per call, client spans of the calls it makes, spans of stages.

The SDK's own variables (OTEL_TRACES_SAMPLER, OTEL_BSP_..., OTEL_EXPORTER_OTLP_..., OTEL_RESOURCE_ATTRIBUTES)
apply. Spans wait in a bounded queue for a thread of the SDK; a collector that is slow or absent costs spans,
never a call.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fovea.contract.errors import FoveaError
from fovea.server.call import Call
from fovea.server.tracing import Metadata, set_span

CLOSE_S = 3.0
W3C = TraceContextTextMapPropagator()
SERVER_ERRORS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that are an error of a server span, as OpenTelemetry's conventions for RPC have it."""


class Traces:
    """The spans of a process, and their export."""

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        own = Resource.create({"service.name": service, "service.version": version("fovea")})
        resource = own.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("fovea", version("fovea"))

    @classmethod
    def to_collector(cls, endpoint: str, service: str) -> Traces:
        return cls(OTLPSpanExporter(endpoint=endpoint), service)

    @asynccontextmanager
    async def layer(self, call: Call) -> AsyncIterator[None]:
        """A span around a call, within the trace of its caller. Health and reflection have none."""
        if call.quiet:
            yield
            return
        metadata = call.context.invocation_metadata() or ()
        caller = W3C.extract({key: value for key, value in metadata if isinstance(value, str)})
        attributes = {**_rpc(call.method), "fovea.request_id": call.request_id}
        began = _wall_ns(call.started)
        span = self._tracer.start_span(call.method[1:], caller, SpanKind.SERVER, attributes, start_time=began)
        set_span(OtelCallSpan(self._tracer, span))
        try:
            yield
        finally:
            if call.reason:
                span.set_attribute("fovea.reason", call.reason)
            _end(span, call.code, is_error=call.code in SERVER_ERRORS)

    async def close(self) -> None:
        """Export what waits, for a limited time: the SDK would wait half a minute for a silent collector."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_S)


class OtelCallSpan:
    """The span of a call that runs. Stages and calls may be added while and after it runs."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)

    def note(self, attributes: Mapping[str, str | float]) -> None:
        self._span.set_attributes(attributes)

    def add_stage(self, name: str, begin: float, end: float) -> None:
        span = self._tracer.start_span(name, self._context, start_time=_wall_ns(begin))
        span.end(_wall_ns(end))

    @contextmanager
    def calling(self, method: str, address: str) -> Iterator[Metadata]:
        attributes = {**_rpc(method), "server.address": address}
        span = self._tracer.start_span(method[1:], self._context, SpanKind.CLIENT, attributes)
        carried: dict[str, str] = {}
        W3C.inject(carried, set_span_in_context(span))
        code = "OK"
        try:
            yield tuple(carried.items())
        except BaseException as error:
            code = _code(error)
            raise
        finally:
            _end(span, code, is_error=code != "OK")


def _rpc(method: str) -> dict[str, str]:
    """`/fovea.x.v1.XService/Call` by OpenTelemetry's conventions."""
    service, _, name = method[1:].partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _end(span: Span, code: str, is_error: bool) -> None:
    span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
    if is_error:
        span.set_status(Status(StatusCode.ERROR, code))
    span.end()


def _code(error: BaseException) -> str:
    if isinstance(error, FoveaError):
        return str(error.code.name)
    return "CANCELLED" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "UNKNOWN"


def _wall_ns(moment: float) -> int:
    """A moment of the monotonic clock as nanoseconds since the epoch."""
    return time.time_ns() - int((time.monotonic() - moment) * 1e9)
