"""The encoder's metrics: gauges are read at each scrape, counters are fed by served calls."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from encoder_svc.core import PlacedRows, ServedRows
from encoder_svc.leases import ArenaUse
from encoder_svc.state import EncoderLimits, EncoderLoad
from encoder_svc.vision.output import Timings
from fovea.contract.plan import Reducer
from fovea.contract.rows import RowOrigin

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class EncoderMetrics:
    """Images, rows and stage times by source."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._images = Counter("fovea_encoder_images", "Images served.", ("source",), registry=registry)
        self._rows = Counter("fovea_encoder_rows", "Rows served.", ("source",), registry=registry)
        self._left_out = Counter(
            "fovea_encoder_rows_left_out",
            "Rows of images served that were not: flat were not encoded, choice were not sent.",
            ("why",),
            registry=registry,
        )
        self._rankings = Counter(
            "fovea_encoder_rankings", "Orders of rows that were made.", ("reducer",), registry=registry
        )
        self._bytes = Counter("fovea_encoder_row_bytes", "Bytes of rows served.", registry=registry)
        self._seconds = Histogram(
            "fovea_encoder_stage_seconds", "Stages of a call.", ("stage",), buckets=SECONDS, registry=registry
        )

    def watch_arena(self, use: Callable[[], ArenaUse]) -> None:
        """Gauges of the arena; zero without an arena."""
        used = Gauge(
            "fovea_encoder_arena_used_bytes", "Bytes of rows in shared memory.", registry=self._registry
        )
        used.set_function(lambda: use().used_bytes)
        leases = Gauge("fovea_encoder_arena_leases", "Leases of rows there.", registry=self._registry)
        leases.set_function(lambda: use().leases)

    def watch(self, load: Callable[[], EncoderLoad], limits: EncoderLimits) -> None:
        """Gauges of load and limits; `load` is called at each scrape."""
        waiting = Gauge("fovea_encoder_num_requests_waiting", "Images that wait.", registry=self._registry)
        waiting.set_function(lambda: load().waiting)
        running = Gauge("fovea_encoder_num_requests_running", "Images in the tower.", registry=self._registry)
        running.set_function(lambda: load().running)
        for name, value in vars(limits).items():
            Gauge(f"fovea_encoder_limit_{name}", "A limit.", registry=self._registry).set(value)

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

    def ranked(self, reducer: Reducer) -> None:
        self._rankings.labels(reducer.value).inc()
