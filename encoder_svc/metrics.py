"""The encoder's metrics: gauges and the store's totals are read at each scrape, other counters are fed by
served calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from encoder_svc.core import PlacedRows, ServedRows
from encoder_svc.shared.level import SharedStats
from encoder_svc.state import ServiceState
from encoder_svc.store.core import TenantStats
from encoder_svc.vision.output import Timings
from fovea.contract.errors import FoveaError
from fovea.contract.plan import Reducer
from fovea.contract.rows import RowOrigin
from fovea.contract.text import ImageText
from fovea.server.metrics import TotalCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

STORE_SIZES = {"bytes": "Bytes stored, in whole pages.", "records": "Records stored."}
STORE_EVENTS = {
    "hits": "Reads of records that were stored.",
    "misses": "Reads of records that were not stored.",
    "puts": "Records written.",
    "skipped_puts": "Records not written, for lack of room or because the write failed.",
    "evictions": "Records evicted to make room.",
    "failed_checks": "Records dropped because their checksum did not match.",
    "errors": "Accesses that failed.",
}


@dataclass(frozen=True)
class StoreCollector(Collector):
    """Sizes and events of the store by partition: rows, uploads. No samples unless the store answers."""

    total: Callable[[], TenantStats]

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        try:
            partitions = vars(self.total())
        except FoveaError:
            partitions = {}
        for family, texts in ((GaugeMetricFamily, STORE_SIZES), (CounterMetricFamily, STORE_EVENTS)):
            for field, text in texts.items():
                metric = family(f"fovea_encoder_store_{field}", text, labels=("partition",))
                for partition, stats in partitions.items():
                    metric.add_metric((partition,), getattr(stats, field))
                yield metric


SHARED_EVENTS = {
    "hits": "Reads of records that the shared cache had.",
    "misses": "Reads of records that it did not have, or did not deliver in time.",
    "puts": "Records written to it.",
    "dropped_puts": "Records not written to it: the queue or the server was full, or no server answered.",
    "failed_checks": "Records deleted there because a check failed.",
    "errors": "Calls of servers that failed.",
}


@dataclass(frozen=True)
class SharedCollector(Collector):
    """Events of the second level by kind of record: rows, rankings, facts; its servers and its queue."""

    stats: Callable[[], SharedStats]

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        stats = self.stats()
        for event, text in SHARED_EVENTS.items():
            counter = CounterMetricFamily(f"fovea_encoder_shared_cache_{event}", text, labels=("kind",))
            for (kind, happened), count in stats.events.items():
                if happened == event:
                    counter.add_metric((kind,), count)
            yield counter
        gauges = {
            "servers": ("Servers of the shared cache.", stats.servers),
            "servers_up": ("Servers of the shared cache whose circuit breaker is closed.", stats.servers_up),
            "queue_bytes": ("Bytes that wait to be written to the shared cache.", stats.queue_bytes),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"fovea_encoder_shared_cache_{name}", text, value=value)


class EncoderMetrics:
    """Images, rows and stage times by source; load, limits and arena use of `state`."""

    def __init__(self, registry: CollectorRegistry, state: ServiceState) -> None:
        self._images = Counter("fovea_encoder_images", "Images served.", ("source",), registry=registry)
        self._rows = Counter("fovea_encoder_rows", "Rows served.", ("source",), registry=registry)
        self._left_out = Counter(
            "fovea_encoder_rows_left_out",
            "Rows of served images that were left out: flat were not encoded, choice were not sent.",
            ("why",),
            registry=registry,
        )
        self._rankings = Counter(
            "fovea_encoder_rankings",
            "Row rankings computed, by reducer.",
            ("reducer",),
            registry=registry,
        )
        self._bytes = Counter("fovea_encoder_row_bytes", "Bytes of rows served.", registry=registry)
        self._seconds = Histogram(
            "fovea_encoder_stage_seconds", "Stages of a call.", ("stage",), buckets=SECONDS, registry=registry
        )
        self._texts = Counter(
            "fovea_encoder_texts",
            "Images that the reader of text has read or given up, by result.",
            ("result",),
            registry=registry,
        )
        self._text_seconds = Histogram(
            "fovea_encoder_text_cpu_seconds",
            "CPU time of reading an image.",
            buckets=SECONDS,
            registry=registry,
        )
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "num_requests_waiting": ("Images that wait for the tower.", lambda: state.load().waiting),
            "num_requests_running": ("Images in the tower.", lambda: state.load().running),
            "texts_waiting": (
                "Images that wait for the reader of text, or are being read.",
                lambda: state.texts_waiting,
            ),
            "erasure_due": (
                "1 while deleted bytes wait for a compaction, else 0.",
                lambda: state.erasure_due,
            ),
            "arena_used_bytes": ("Bytes of rows in shared memory.", lambda: state.arena_use().used_bytes),
            "arena_leases": ("Leases of rows in shared memory.", lambda: state.arena_use().leases),
        }
        for name, (text, read) in gauges.items():
            Gauge(f"fovea_encoder_{name}", text, registry=registry).set_function(read)
        for name, text, read in (
            ("encodes", "Images that the tower has computed.", lambda: state.load().encodes),
            ("batches", "Tower calls, of one image or several.", lambda: state.batches),
        ):
            registry.register(TotalCollector(f"fovea_encoder_{name}", text, read))
        for name, value in vars(state.description.limits).items():
            text = f"The limit {name} of GetServerInfo."
            Gauge(f"fovea_encoder_limit_{name}", text, registry=registry).set(value)
        registry.register(StoreCollector(state.store_total))
        registry.register(SharedCollector(state.shared_stats))

    def served(self, served: ServedRows) -> None:
        self._images.labels(served.origin).inc()
        self._rows.labels(served.origin).inc(served.rows.count)
        self._left_out.labels("flat").inc(served.job.planned.tokens - served.encoded)
        self._left_out.labels("choice").inc(served.encoded - served.rows.count)
        self._bytes.inc(served.rows.data.nbytes)
        self._took(served.timings)

    def placed(self, placed: PlacedRows) -> None:
        """An image that was encoded to place its rows counts as encoded. Its rows are sent later."""
        if placed.origin is RowOrigin.ENCODED:
            self._images.labels(placed.origin).inc()
            self._took(placed.timings)

    def _took(self, timings: Timings) -> None:
        for name, ms in vars(timings).items():
            if ms:
                self._seconds.labels(name.removesuffix("_ms")).observe(ms / 1000)

    def read(self, result: ImageText | FoveaError) -> None:
        """A reading has ended: with text, without, or with a failure."""
        if isinstance(result, FoveaError):
            self._texts.labels(result.reason.lower()).inc()
            return
        self._texts.labels("text" if result.lines else "no_text").inc()
        self._text_seconds.observe(result.cpu_ms / 1000)

    def ranked(self, reducer: Reducer) -> None:
        self._rankings.labels(reducer.value).inc()
