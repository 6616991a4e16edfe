"""The gateway's metrics: requests by route and status, their times, and what runs now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fovea.server.metrics import BUCKETS, describe_process


class GatewayMetrics:
    """Counted in a layer, never in a handler."""

    def __init__(self, registry: CollectorRegistry) -> None:
        describe_process(registry, "fovea.gateway")
        labels = ("route", "method")
        self._requests = Counter(
            "fovea_gateway_http_requests",
            "Requests ended, by status.",
            (*labels, "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "fovea_gateway_http_request_duration_seconds",
            "Seconds from a request's headers to the end of its answer.",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self._running = Gauge("fovea_gateway_num_requests_running", "Requests that run.", registry=registry)

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._running.track_inprogress():
            yield

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        method = method if method in ("GET", "HEAD", "POST", "DELETE") else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)
