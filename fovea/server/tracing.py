"""The span of the call that runs in this task, if calls are traced.

Traces are off unless a collector is named; only then is OpenTelemetry imported, by `otel.py`. The context of
a trace arrives and leaves in the metadata `traceparent`, as W3C defines it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from fovea.server.otel import Traces

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
Metadata = tuple[tuple[str, str], ...]
log = structlog.get_logger()


class CallSpan(Protocol):
    """The span of a call. Holds ids, codes, counts and times: no content, no tenant, no token."""

    def note(self, attributes: Mapping[str, str | float]) -> None:
        """Add attributes."""

    def add_stage(self, name: str, begin: float, end: float) -> None:
        """Add a span of a stage; times are of the monotonic clock, in seconds."""

    def calling(self, method: str, address: str) -> AbstractContextManager[Metadata]:
        """A span of a call to another service, and the metadata that passes the trace on."""


_current: ContextVar[CallSpan | None] = ContextVar("call_span", default=None)


def current_span() -> CallSpan | None:
    return _current.get()


def set_span(span: CallSpan) -> None:
    """Set the span of this task and of the tasks that it starts."""
    _current.set(span)


@contextmanager
def traced_call(method: str, address: str) -> Iterator[Metadata]:
    """A call to another service, such as `/fovea.x.v1.XService/Call`, within the call of this task."""
    span = current_span()
    if span is None:
        yield ()
        return
    with span.calling(method, address) as carried:
        yield carried


def open_traces(endpoint: str, service: str) -> Traces | None:
    """Export to `endpoint`, or to that of OpenTelemetry's own variables; None if neither names a collector.

    Raises ValueError if the setting names it and OpenTelemetry is not installed. Variables may be set for all
    programs of a machine, so they only cause a warning.
    """
    collector = endpoint or next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
    if not collector:
        return None
    try:
        from fovea.server.otel import Traces
    except ModuleNotFoundError:
        if endpoint:
            raise ValueError("otel_endpoint needs OpenTelemetry: pip install 'fovea[otel]'") from None
        log.warning("traces_off", why="OpenTelemetry is not installed: pip install 'fovea[otel]'")
        return None
    return Traces.to_collector(collector, service)
