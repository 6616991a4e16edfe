"""Metrics of the decoder: gauges and totals read at each scrape, and counters fed by usage records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.engine.protocol import EngineLoad
from decoder_svc.ledger.ledger import Ledger
from decoder_svc.settings import DecoderLimits
from decoder_svc.tiers.router import Step
from decoder_svc.tiers.tier import Tier
from fovea.contract.receipt import Receipt
from fovea.contract.usage import AnomalyKind, Outcome, UsageRecord
from fovea.server.metrics import LabelledTotals, TotalCollector

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)
STAGES = {
    "queue": "Wait for a turn, a slot and KV blocks.",
    "encode": "Encoder's work for the slowest image.",
    "transfer": "Transfer of the rows of the slowest image.",
    "prefill": "Slot to first token, without the wait for rows.",
    "decode": "First token to last.",
}
OTHER_TENANTS = "_other"
"""No tenant has this name."""


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


@dataclass(frozen=True)
class TierCollector(Collector):
    """The figures of tiers, each under its own name with the tier's name as its label."""

    tiers: tuple[Tier, ...]

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for tier in self.tiers:
            for figure in tier.figures:
                name = f"fovea_decoder_tier_{figure.name}"
                kind = CounterMetricFamily if figure.total else GaugeMetricFamily
                family = families.setdefault(name, kind(name, figure.text, labels=("tier",)))
                family.add_metric((tier.name,), figure.read())
        return families.values()


class TenantNames:
    """The label of a tenant. The first `most` tenants have their name, all later ones share a label.

    Prometheus keeps every series for as long as its data, so a tenant must not be able to add series.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._named: set[str] = set()

    def label(self, tenant: str) -> str:
        if len(self._named) < self._most:
            self._named.add(tenant)
        return tenant if tenant in self._named else OTHER_TENANTS


class DecoderMetrics:
    """All metric names share a prefix; the rest of a name is vLLM's where the meaning is (docs/metrics.md).

    `max_tenants` bounds the values of the label `tenant`.
    """

    def __init__(self, registry: CollectorRegistry, max_tenants: int) -> None:
        self._registry = registry
        self._tenants = TenantNames(max_tenants)
        self._requests = self._counter("requests", "Requests that have ended, by how.", "tenant", "outcome")
        self._prompt = self._counter(
            "prompt_tokens", "Tokens of prompts, cached ones included.", "tenant", "kind"
        )
        self._generated = self._counter("generation_tokens", "Tokens of answers.", "tenant")
        self._queried = self._counter("prefix_cache_queries", "Tokens of prompts that were looked up.")
        self._cached = self._counter("prefix_cache_hits", "Tokens of prompts that were in the KV cache.")
        self._images = self._counter("images", "Images of requests, by where their rows came from.", "source")
        self._wire = self._counter("row_bytes", "Bytes of rows received.")
        self._visual = self._counter(
            "visual_tokens", "Visual tokens of requests: read, and without any plan.", "plan"
        )
        self._saved = self._counter("visual_tokens_saved", "Visual tokens saved, by the step.", "step")
        self._patches = self._counter(
            "patches", "Patches encoded for requests, and without plan and store.", "plan"
        )
        self._tiers = self._counter(
            "tier_requests", "Requests that a tier answered, or passed on.", "tier", "result"
        )
        self._degraded = self._counter("degraded", "Requests whose images lost detail to pressure.")
        self._price = self._counter(
            "price",
            "By the tariff: what requests cost, and without plan and store.",
            "tenant",
            "plan",
            "currency",
        )
        self._ttft = self._histogram("time_to_first_token_seconds", "Call to first token.")
        self._inter_token = self._histogram(
            "inter_token_latency_seconds", "Time between two tokens.", TOKEN_SECONDS
        )
        self._per_token = self._histogram(
            "request_time_per_output_token_seconds", "Mean time between tokens of an answer.", TOKEN_SECONDS
        )
        self._seconds = self._histogram(
            "e2e_request_latency_seconds", "Call to last token, of complete answers."
        )
        self._stages = {
            stage: self._histogram(f"request_{stage}_time_seconds", text) for stage, text in STAGES.items()
        }

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"fovea_decoder_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float] = SECONDS) -> Histogram:
        return Histogram(f"fovea_decoder_{name}", text, buckets=buckets, registry=self._registry)

    def watch(self, load: Callable[[], EngineLoad | None], limits: DecoderLimits) -> None:
        """Gauges of load and limits. `load` is called at each scrape and is None until the model runs."""
        self._gauges(
            load,
            ("num_requests_running", "Requests that are being computed.", "running"),
            ("num_requests_waiting", "Requests that wait.", "waiting"),
            ("kv_cache_usage_perc", "Share of the KV blocks that requests hold, 0 to 1.", "kv_share"),
            ("kv_blocks_used", "KV blocks in use.", "kv_used_blocks"),
            ("kv_blocks", "KV blocks in all.", "kv_total_blocks"),
        )
        self._totals(
            load,
            ("num_preemptions", "Requests put back in the queue for lack of KV blocks.", "preemptions"),
        )
        for name, value in vars(limits).items():
            text = f"The limit {name} of GetServerInfo."
            Gauge(f"fovea_decoder_limit_{name}", text, registry=self._registry).set(value)

    def watch_cache(self, cache: RowCache) -> None:
        """Size and events of the row cache."""
        self._gauges(lambda: cache, ("row_cache_used_bytes", "Bytes of rows in the row cache.", "used_bytes"))
        self._totals(
            lambda: cache,
            ("row_cache_hits", "Images whose rows were in the row cache.", "hits"),
            ("row_cache_misses", "Images whose rows were not in the row cache.", "misses"),
            ("row_cache_evictions", "Images evicted from the row cache.", "evictions"),
        )

    def watch_same_host(self, same_host: SharedMemoryReader) -> None:
        """Images read from shared memory, and fallbacks to the network."""
        self._totals(
            lambda: same_host,
            ("same_host_reads", "Images whose rows were read from shared memory.", "reads"),
            ("same_host_fallbacks", "Fallbacks from shared memory to the network.", "fallbacks"),
        )

    def watch_ledger(self, ledger: Ledger) -> None:
        """The ledger's writer, quotas, and anomalies by kind."""
        counts = ledger.anomalies.counts
        self._registry.register(
            LabelledTotals(
                "fovea_decoder_anomalies",
                "Anomalies in the use of tenants, by kind.",
                "kind",
                lambda: {kind.value: counts[kind] for kind in AnomalyKind},
            )
        )
        self._totals(
            lambda: ledger.quotas,
            ("quota_refused", "Requests refused because of a quota.", "refused"),
            ("quota_nearly_used", "Times a tenant came near a quota, once a day for each.", "nearly_used"),
            ("quota_unchecked", "Requests answered without a check of their quota.", "unchecked"),
        )
        self._gauges(
            lambda: ledger.writer,
            ("ledger_up", "1 while the ledger's database takes records, else 0.", "up"),
            ("ledger_waiting", "Records that wait for the ledger's database.", "waiting"),
            ("limit_ledger_queue", "Records that may wait, the setting ledger_queue.", "capacity"),
        )
        self._totals(
            lambda: ledger.writer,
            ("ledger_written", "Records written to the ledger's database.", "written"),
            ("ledger_dropped", "Records that were lost, mostly because the queue was full.", "dropped"),
        )

    def _gauges(self, source: Callable[[], object], *gauges: tuple[str, str, str]) -> None:
        """Gauges (name, text, field of the source), read at each scrape; 0 without a source."""
        for name, text, field in gauges:
            gauge = Gauge(f"fovea_decoder_{name}", text, registry=self._registry)
            gauge.set_function(partial(_read, source, field))

    def _totals(self, source: Callable[[], object], *totals: tuple[str, str, str]) -> None:
        """Counters (name, text, field of the source), read at each scrape; 0 without a source."""
        for name, text, field in totals:
            self._total(name, text, partial(_read, source, field))

    def _total(self, name: str, text: str, total: Callable[[], float]) -> None:
        self._registry.register(TotalCollector(f"fovea_decoder_{name}", text, total))

    def watch_tiers(self, steps: Sequence[Step]) -> None:
        """The figures of each tier, read at each scrape."""
        self._registry.register(TierCollector(tuple(step.tier for step in steps)))

    def watch_encoders(self, up: Callable[[], Mapping[str, bool]]) -> None:
        """A gauge per encoder, read at each scrape."""
        self._registry.register(EncoderCollector(up))

    def count(self, record: UsageRecord) -> None:
        """Count a request, however it ended, with what it has used."""
        receipt, tenant = record.receipt, self._tenants.label(record.tenant)
        totals = receipt.totals
        self._requests.labels(tenant, record.outcome).inc()
        self._prompt.labels(tenant, "visual").inc(totals.visual_tokens)
        self._prompt.labels(tenant, "text").inc(totals.text_tokens)
        self._generated.labels(tenant).inc(totals.output_tokens)
        self._queried.inc(totals.text_tokens + totals.visual_tokens)
        self._cached.inc(totals.cached_prompt_tokens)
        for image in receipt.images:
            self._images.labels(image.source).inc()
        for step, tokens in record.saved.items():
            self._saved.labels(step).inc(tokens)
        self._count_savings(receipt, tenant)
        self._count_tiers(record)
        self._wire.inc(totals.wire_bytes)
        self._count_times(record)

    def _count_times(self, record: UsageRecord) -> None:
        """A stage that did not run is not observed; nor are later stages of a request that was cut."""
        totals, stages = record.receipt.totals, record.receipt.stages_ms
        if stages.ttft:
            self._ttft.observe(stages.ttft / 1000)
        for stage, histogram in self._stages.items():
            if ms := getattr(stages, stage):
                histogram.observe(ms / 1000)
        for seconds in record.token_gaps_s:
            self._inter_token.observe(seconds)
        if totals.output_tokens > 1:
            self._per_token.observe(stages.decode / 1000 / (totals.output_tokens - 1))
        if record.outcome in (Outcome.OK, Outcome.LENGTH):
            self._seconds.observe(stages.total / 1000)

    def _count_tiers(self, record: UsageRecord) -> None:
        """A tier in whose hands a request ended without an answer counts neither way."""
        *passed, last = record.receipt.tier.path or ("",)
        for tier in passed:
            self._tiers.labels(tier, "passed").inc()
        if last and record.outcome in (Outcome.OK, Outcome.LENGTH):
            self._tiers.labels(last, "answered").inc()

    def _count_savings(self, receipt: Receipt, tenant: str) -> None:
        totals, price = receipt.totals, receipt.price
        self._visual.labels("planned").inc(totals.visual_tokens)
        self._visual.labels("naive").inc(totals.naive_visual_tokens)
        self._patches.labels("planned").inc(totals.patches)
        self._patches.labels("naive").inc(totals.naive_patches)
        self._degraded.inc(receipt.degraded)
        if price.currency:
            self._price.labels(tenant, "planned", price.currency).inc(price.amount)
            self._price.labels(tenant, "naive", price.currency).inc(price.naive_amount)


def _read(source: Callable[[], object], field: str) -> float:
    return float(getattr(source(), field, 0))
