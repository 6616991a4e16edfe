"""Metrics counted from usage records."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from decoder_svc.engine.protocol import Delta, EngineTimings, Usage
from decoder_svc.metrics import OTHER_TENANTS, DecoderMetrics
from decoder_svc.receipt import RequestUsage
from fovea.contract.receipt import ImageReceipt, Price, Receipt, Stages, Step, Totals
from fovea.contract.usage import Outcome, UsageRecord
from fovea.server.identity import TENANT


def test_savings_are_counted_by_step_and_against_no_planning() -> None:
    steps = (Step("resize", 100, 60, "max_pixels 1"), Step("flat", 60, 40, "tolerance 0"))
    image = ImageReceipt("sha256:0", (10, 10), (8, 8), (1, 2, 2), 240, 100, 40, steps)
    totals = Totals(40, 100, naive_patches=400, patches=160)
    receipt = Receipt((image,), totals, Stages(), price=Price(0.5, "EUR", 2.0), degraded=True)
    record = UsageRecord("1", "r", "acme", 0.0, "Generate", Outcome.OK, "m", receipt)
    registry = CollectorRegistry()
    metrics = DecoderMetrics(registry, 100)
    for _ in range(2):
        metrics.count(record)

    def count(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"fovea_decoder_{name}_total", labels)

    assert (count("visual_tokens", plan="planned"), count("visual_tokens", plan="naive")) == (80, 200)
    assert (count("visual_tokens_saved", step="resize"), count("visual_tokens_saved", step="flat")) == (
        80,
        40,
    )
    assert (count("patches", plan="planned"), count("patches", plan="naive")) == (320, 800)
    assert count("degraded") == 2
    assert count("price", tenant="acme", plan="planned", currency="EUR") == 1.0
    assert count("price", tenant="acme", plan="naive", currency="EUR") == 4.0


def ended(tenant: str, totals: Totals, stages: Stages, gaps: tuple[float, ...] = ()) -> UsageRecord:
    receipt = Receipt((), totals, stages)
    return UsageRecord("1", "r", tenant, 0.0, "Generate", Outcome.OK, "m", receipt, token_gaps_s=gaps)


def test_tenants_beyond_the_bound_share_a_label() -> None:
    registry = CollectorRegistry()
    metrics = DecoderMetrics(registry, 2)
    for tenant in ("a", "b", "c", "d", "a", "_other"):
        metrics.count(ended(tenant, Totals(text_tokens=10, output_tokens=1), Stages()))

    def of(tenant: str) -> float | None:
        return registry.get_sample_value("fovea_decoder_generation_tokens_total", {"tenant": tenant})

    assert [of(tenant) for tenant in ("a", "b", "c", "d", OTHER_TENANTS)] == [2, 1, None, None, 3]
    assert not TENANT.fullmatch(OTHER_TENANTS), "a tenant could have the name"


def test_without_named_tenants_all_share_a_label() -> None:
    registry = CollectorRegistry()
    DecoderMetrics(registry, 0).count(ended("a", Totals(output_tokens=1), Stages()))
    labels = {"tenant": OTHER_TENANTS, "outcome": "ok"}
    assert registry.get_sample_value("fovea_decoder_requests_total", labels) == 1


def test_stages_that_did_not_run_are_not_observed() -> None:
    registry = CollectorRegistry()
    stages = Stages(queue=5.0, prefill=20.0, ttft=25.0, decode=30.0, total=60.0)
    DecoderMetrics(registry, 1).count(ended("a", Totals(output_tokens=3), stages, (0.01, 0.02)))

    def seen(name: str) -> tuple[float | None, float | None]:
        name = f"fovea_decoder_{name}_seconds"
        return registry.get_sample_value(f"{name}_count"), registry.get_sample_value(f"{name}_sum")

    assert seen("request_queue_time") == (1, 0.005)
    assert seen("request_encode_time") == (0, 0)
    assert seen("request_decode_time") == (1, 0.03)
    assert seen("inter_token_latency") == (2, pytest.approx(0.03))
    assert seen("request_time_per_output_token") == (1, pytest.approx(0.015))
    assert seen("e2e_request_latency") == (1, 0.06)


def note(used: RequestUsage, tokens: int, ttft_ms: float, decode_ms: float) -> None:
    timings = EngineTimings(ttft_ms=ttft_ms, decode_ms=decode_ms)
    used.note(Delta(tuple(range(tokens)), "", Usage(1, 0, tokens), timings))


def test_the_first_token_has_a_gap_to_those_of_its_delta() -> None:
    """A busy service takes more than one token with the first delta."""
    used = RequestUsage()
    note(used, 3, 50.0, 30.0)
    note(used, 1, 50.0, 40.0)
    assert used.token_gaps_s == pytest.approx([0.015, 0.015, 0.01])


def test_tokens_of_a_delta_share_their_gap_and_the_first_token_has_none() -> None:
    used = RequestUsage()
    note(used, 0, 0.0, 0.0)
    note(used, 1, 50.0, 0.0)
    note(used, 2, 50.0, 40.0)
    note(used, 1, 50.0, 45.0)
    note(used, 0, 50.0, 45.0)
    assert used.token_gaps_s == pytest.approx([0.02, 0.02, 0.005])
    used.give_up()
    assert used.token_gaps_s == []
