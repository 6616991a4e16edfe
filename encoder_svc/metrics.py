"""The encoder's metrics: gauges are read at each scrape, counters are fed by served calls."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from encoder_svc.core import PlacedRows, ServedRows
from encoder_svc.state import ServiceState
from encoder_svc.vision.output import Timings
from fovea.contract.plan import Reducer
from fovea.contract.rows import RowOrigin

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class EncoderMetrics:
    """Images, rows and stage times by source; load, limits and arena use of `state`."""

    def __init__(self, registry: CollectorRegistry, state: ServiceState) -> None:
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
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "num_requests_waiting": ("Images that wait.", lambda: state.load().waiting),
            "num_requests_running": ("Images in the tower.", lambda: state.load().running),
            "erasure_due": ("Whether deleted bytes wait for a compaction.", lambda: state.erasure_due),
            "arena_used_bytes": ("Bytes of rows in shared memory.", lambda: state.arena_use().used_bytes),
            "arena_leases": ("Leases of rows there.", lambda: state.arena_use().leases),
        }
        for name, (text, read) in gauges.items():
            Gauge(f"fovea_encoder_{name}", text, registry=registry).set_function(read)
        for name, value in vars(state.description.limits).items():
            Gauge(f"fovea_encoder_limit_{name}", "A limit.", registry=registry).set(value)

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
