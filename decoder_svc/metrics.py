"""Metrics of the decoder: gauges that are read at each scrape, and counters fed by receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.engine.protocol import EngineLoad
from decoder_svc.state import DecoderLimits, Unfinished
from fovea.contract.receipt import Receipt

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)


@dataclass(frozen=True)
class EncoderCollector(Collector):
    """Whether each encoder answers. The set of encoders may change between scrapes."""

    up: Callable[[], Mapping[str, bool]]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "fovea_decoder_encoder_up", "1 while the encoder answers, else 0.", labels=("encoder",)
        )
        for address, answers in self.up().items():
            gauge.add_metric((address,), float(answers))
        yield gauge


class DecoderMetrics:
    """All metrics share a prefix; their stems are those of vLLM's dashboards."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._tokens = Counter("fovea_decoder_tokens", "Tokens, by kind.", ("kind",), registry=registry)
        self._images = Counter(
            "fovea_decoder_images", "Images of answers, by where their rows came from.", ("source",),
            registry=registry,
        )  # fmt: skip
        self._wire = Counter("fovea_decoder_row_bytes", "Bytes of rows received.", registry=registry)
        self._visual = Counter(
            "fovea_decoder_visual_tokens", "Visual tokens of answers: planned, and without any plan.",
            ("plan",), registry=registry,
        )  # fmt: skip
        self._saved = Counter(
            "fovea_decoder_visual_tokens_saved", "Visual tokens saved, by the step.", ("step",),
            registry=registry,
        )  # fmt: skip
        self._patches = Counter(
            "fovea_decoder_patches", "Patches encoded for answers, and without plan and store.",
            ("plan",), registry=registry,
        )  # fmt: skip
        self._degraded = Counter(
            "fovea_decoder_degraded", "Answers whose images lost detail to pressure.", registry=registry
        )
        self._price = Counter(
            "fovea_decoder_price", "By the tariff: what answers cost, and without plan and store.",
            ("plan", "currency"), registry=registry,
        )  # fmt: skip
        self._ttft = Histogram(
            "fovea_decoder_time_to_first_token_seconds", "Call to first token.", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._total = Histogram(
            "fovea_decoder_request_seconds", "Call to last token.", buckets=SECONDS, registry=registry
        )

    def watch(self, load: Callable[[], EngineLoad | None], limits: DecoderLimits) -> None:
        """Gauges of load and limits. `load` is called at each scrape and is None until the model runs."""
        for name, text, field in (
            ("num_requests_running", "Requests computed now.", "running"),
            ("num_requests_waiting", "Requests that wait.", "waiting"),
            ("kv_blocks_used", "KV blocks in use.", "kv_used_blocks"),
            ("kv_blocks", "KV blocks in all.", "kv_total_blocks"),
            ("num_preemptions", "Requests put back since the start.", "preemptions"),
        ):
            gauge = Gauge(f"fovea_decoder_{name}", text, registry=self._registry)
            gauge.set_function(partial(_read, load, field))
        for name, value in vars(limits).items():
            Gauge(f"fovea_decoder_limit_{name}", "A limit.", registry=self._registry).set(value)

    def watch_cache(self, cache: RowCache) -> None:
        """Gauges of the row cache."""
        for name, text, field in (
            ("row_cache_used_bytes", "Bytes of rows in memory.", "used_bytes"),
            ("row_cache_hits", "Images whose rows were in memory, since the start.", "hits"),
            ("row_cache_misses", "Images whose rows were not, since the start.", "misses"),
            ("row_cache_evictions", "Images let go to make room, since the start.", "evictions"),
        ):
            gauge = Gauge(f"fovea_decoder_{name}", text, registry=self._registry)
            gauge.set_function(partial(getattr, cache, field))

    def watch_same_host(self, same_host: SharedMemoryReader) -> None:
        """Gauges of images read from shared memory and of fallbacks to the wire."""
        for name, text, field in (
            ("same_host_reads", "Images whose rows were in shared memory, since the start.", "reads"),
            (
                "same_host_fallbacks",
                "Times that the wire was used instead, since the start.",
                "fallbacks",
            ),
        ):
            gauge = Gauge(f"fovea_decoder_{name}", text, registry=self._registry)
            gauge.set_function(partial(getattr, same_host, field))

    def watch_encoders(self, up: Callable[[], Mapping[str, bool]]) -> None:
        """A gauge per encoder, read at each scrape."""
        self._registry.register(EncoderCollector(up))

    def answered(self, receipt: Receipt) -> None:
        totals = receipt.totals
        self._tokens.labels("visual").inc(totals.visual_tokens)
        self._tokens.labels("text").inc(totals.text_tokens)
        self._tokens.labels("output").inc(totals.output_tokens)
        for image in receipt.images:
            self._images.labels(image.source).inc()
            for step in image.steps:
                self._saved.labels(step.name).inc(max(0, step.before - step.after))
        self._count_savings(receipt)
        self._wire.inc(totals.wire_bytes)
        self._ttft.observe(receipt.stages_ms.ttft / 1000)
        self._total.observe(receipt.stages_ms.total / 1000)

    def unfinished(self, spent: Unfinished) -> None:
        """Count an answer that was cancelled or failed after its first tokens were sent."""
        for kind, tokens in vars(spent).items():
            self._tokens.labels(kind.removesuffix("_tokens")).inc(tokens)

    def _count_savings(self, receipt: Receipt) -> None:
        totals, price = receipt.totals, receipt.price
        self._visual.labels("planned").inc(totals.visual_tokens)
        self._visual.labels("naive").inc(totals.naive_visual_tokens)
        self._patches.labels("planned").inc(totals.patches)
        self._patches.labels("naive").inc(totals.naive_patches)
        self._degraded.inc(receipt.degraded)
        if price.currency:
            self._price.labels("planned", price.currency).inc(price.amount)
            self._price.labels("naive", price.currency).inc(price.naive_amount)


def _read(load: Callable[[], EngineLoad | None], field: str) -> float:
    return float(getattr(load(), field, 0))
