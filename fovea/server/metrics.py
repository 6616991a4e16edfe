"""Prometheus metrics of calls, under standard gRPC metric names; a registry per server.

Counted in an interceptor, never in a handler. Domain metrics are in each service's `metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fovea.server.memory import MemoryCollector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def describe_process(registry: CollectorRegistry, service: str) -> None:
    """Metrics that every service has: of its process and its memory, and its version.

    The time at which each counter began is left out: Prometheus would keep a series more for each.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    registry.register(MemoryCollector())
    build = Info("fovea_build", "The service and its version.", registry=registry)
    build.info({"service": service, "version": version("fovea")})


@dataclass(frozen=True)
class TotalCollector(Collector):
    """A counter that is kept elsewhere and read at each scrape. `_total` is added to its name."""

    name: str
    text: str
    total: Callable[[], float]

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self.name, self.text, self.total())


@dataclass(frozen=True)
class LabelledTotals(Collector):
    """As TotalCollector, with a counter for each value of a label."""

    name: str
    text: str
    label: str
    totals: Callable[[], Mapping[str, float]]

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self.name, self.text, labels=(self.label,))
        for value, total in self.totals().items():
            family.add_metric((value,), total)
        yield family


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
