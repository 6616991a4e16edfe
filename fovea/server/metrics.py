"""Prometheus metrics of calls, under standard gRPC metric names; a registry per server.

Counted in an interceptor, never in a handler. Domain metrics are in each service's `metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True)
class TotalCollector(Collector):
    """A counter that is kept elsewhere and read at each scrape. `_total` is added to its name."""

    name: str
    text: str
    total: Callable[[], float]

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self.name, self.text, self.total())


class CallMetrics:
    """Started calls, handled calls by code, and durations, by service and method."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("grpc_service", "grpc_method")

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(name, text, (*labels, *more), registry=registry)

        self._started = counter("grpc_server_started", "Calls begun.")
        self._handled = counter("grpc_server_handled", "Calls ended, by code.", "grpc_code")
        self._seconds = Histogram(
            "grpc_server_handling_seconds", "Seconds a call took.", labels, buckets=BUCKETS, registry=registry
        )
        idle = "Calls ended because their caller did not send or read a message in time."
        self._idle = counter("fovea_server_idle_calls", idle, "waited_for")

    @staticmethod
    def _labels(method: str) -> tuple[str, str]:
        service, _, name = method.lstrip("/").partition("/")
        return service, name

    def started(self, method: str) -> None:
        self._started.labels(*self._labels(method)).inc()

    def handled(self, method: str, code: str, seconds: float) -> None:
        self._handled.labels(*self._labels(method), code).inc()
        self._seconds.labels(*self._labels(method)).observe(seconds)

    def idle(self, method: str, waited_for: str) -> None:
        self._idle.labels(*self._labels(method), waited_for).inc()
