"""The gateway's metrics: requests by route and status, their times, and what runs now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from fovea.server.metrics import BUCKETS


class GatewayMetrics:
    """Counted in a layer, never in a handler."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        build = Info("fovea_build", "The service and its version.", registry=registry)
        build.info({"service": "fovea.gateway", "version": version("fovea")})
        labels = ("route", "method")
        self._requests = Counter(
            "fovea_gateway_requests", "Requests ended, by status.", (*labels, "status"), registry=registry
        )
        self._seconds = Histogram(
            "fovea_gateway_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self._running = Gauge("fovea_gateway_running_requests", "Requests that run.", registry=registry)

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._running.track_inprogress():
            yield

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        method = method if method in ("GET", "HEAD", "POST", "DELETE") else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)
