"""Prefill cost and pressure, with numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from decoder_svc.budget.cost import PrefillCost
from decoder_svc.budget.pressure import Pressure
from decoder_svc.budget.tariff import Tariff
from decoder_svc.engine.protocol import EngineLoad
from fovea.contract.receipt import Price, Totals
from fovea.rate import Rate

# text_config of the published Qwen3-VL-30B-A3B.
PUBLISHED = {
    "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
    "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    "intermediate_size": 6144, "vocab_size": 151_936, "decoder_sparse_step": 1, "mlp_only_layers": [],
}  # fmt: skip


def test_the_published_moe_meets_three_billion_weights_a_token() -> None:
    cost = PrefillCost.of(PUBLISHED)
    attention = 2048 * 32 * 128 * 2 + 2048 * 4 * 128 * 2
    assert cost.weights == 48 * (attention + 8 * 3 * 2048 * 768 + 2048 * 128)
    assert cost.weights + cost.head == pytest.approx(3.04e9, rel=0.01)
    assert cost.flops(576) == pytest.approx(2 * cost.weights * 576, rel=0.05)
    assert cost.flops(8192) > 1.2 * 2 * cost.weights * 8192


def test_dense_layers_have_a_single_feed_forward() -> None:
    dense = {key: value for key, value in PUBLISHED.items() if "expert" not in key}
    attention = 2048 * 36 * 128 * 2
    assert PrefillCost.of(dense).weights == 48 * (attention + 3 * 2048 * 6144)


def test_the_rate_follows_the_last_answers() -> None:
    rate = Rate()
    assert rate.seconds(100) == 0
    rate.note(0, 5)  # all of it was cached
    assert rate.seconds(100) == 0
    rate.note(100, 200)
    assert rate.seconds(10) == pytest.approx(20)
    for _ in range(100):
        rate.note(100, 100)
    assert rate.seconds(10) == pytest.approx(10, rel=0.01)


def test_large_work_weighs_more_than_small_work() -> None:
    """A prompt from the cache costs a step whatever its length, and must not set the price of a token."""
    rate = Rate()
    for _ in range(50):
        rate.note(1000, 10)
        rate.note(1, 1)
    assert rate.seconds(1000) == pytest.approx(11, rel=0.1)


@pytest.mark.parametrize(
    ("waiting", "blocks", "steps"),
    [(0, 0, 0), (49, 89, 0), (50, 0, 1), (0, 90, 1), (74, 94, 1), (75, 0, 2), (0, 95, 2), (100, 100, 2)],
)
def test_detail_is_lowered_from_the_threshold_on(waiting: int, blocks: int, steps: int) -> None:
    load = EngineLoad(3, waiting, blocks, 100, 0)
    assert Pressure(0.5, 0.9).steps(load, 100) == steps
    assert Pressure(1, 1).steps(load, 100) == 0


def test_an_engine_without_cache_figures_reports_no_pressure() -> None:
    assert Pressure().steps(EngineLoad(0, 0, 0, 0, 0), 100) == 0


def test_cached_tokens_have_their_own_price() -> None:
    totals = Totals(100, 400, 50, 60, 10, 1, 0, 0, 400, 1600)
    tariff = Tariff("EUR", text_tokens=1, visual_tokens=2, output_tokens=3, cached_tokens=0.5, patches=0.1)
    amount = (50 - 10) * 1 + (100 - 50) * 2 + 10 * 3 + 60 * 0.5 + 400 * 0.1
    naive = 50 * 1 + 400 * 2 + 10 * 3 + 1600 * 0.1
    price = tariff.price(totals, cached_visual=50)
    assert (price.amount, price.naive_amount) == pytest.approx((amount / 1e6, naive / 1e6))
    assert Tariff(text_tokens=1).price(totals, 0) == Price()
