"""Metrics of savings, counted from usage records."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from decoder_svc.metrics import DecoderMetrics
from fovea.contract.receipt import ImageReceipt, Price, Receipt, Stages, Step, Totals
from fovea.contract.usage import Outcome, UsageRecord


def test_savings_are_counted_by_step_and_against_no_planning() -> None:
    steps = (Step("resize", 100, 60, "max_pixels 1"), Step("flat", 60, 40, "tolerance 0"))
    image = ImageReceipt("sha256:0", (10, 10), (8, 8), (1, 2, 2), 240, 100, 40, steps)
    totals = Totals(40, 100, naive_patches=400, patches=160)
    receipt = Receipt((image,), totals, Stages(), price=Price(0.5, "EUR", 2.0), degraded=True)
    record = UsageRecord("1", "r", "acme", 0.0, "Generate", Outcome.OK, "m", receipt)
    registry = CollectorRegistry()
    metrics = DecoderMetrics(registry)
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
    assert count("price", plan="planned", currency="EUR") == 1.0
    assert count("price", plan="naive", currency="EUR") == 4.0
