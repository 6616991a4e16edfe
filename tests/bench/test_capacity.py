"""Fleets of GPUs: arithmetic of the model, capacities of parts, sizes of stores, and the page."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.result import Measure
from bench.simulation import gpu, page, tables
from bench.simulation.cache import capacity_for, hit_rate
from bench.simulation.calibration import Calibration
from bench.simulation.capacity import SharedRates, busiest_share, capacities, split, zipf
from bench.simulation.comparison import Comparison
from bench.simulation.costs import Costs
from bench.simulation.derived import Derived
from bench.simulation.fleet import Outcome, Setup, Shape
from bench.simulation.gpu import Gpu, Model, RowCosts, Traffic
from bench.simulation.load import Load
from bench.simulation.real import Observed
from fovea.rendezvous import owner

MEASURED = Costs(
    decoder_put=0.002, decoder_ask=0.008, decoder_token=0.0002, encoder_put=0.004, worker_put=0.006,
    encoder_hit=0.003, encoder_new=0.008, worker_new=0.004,
)  # fmt: skip
SHARED = SharedRates(sqlite_records=5000, postgres_records=3000, node_bytes=3e9, probe=0.001)
ROWS = RowCosts(1e-5, 1e-5)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def basis(model: Model) -> tables.Basis:
    traffic = Traffic()
    costs = gpu.costs(MEASURED, ROWS, model, Gpu(), traffic)
    return tables.Basis(costs, model, Gpu(), traffic, SHARED, 0)


def test_the_arithmetic_of_the_published_model(model: Model) -> None:
    """A token activates 3.3 billion weights; with 64 sequences nearly all experts are read: about 60 GB."""
    assert model.row_bytes == 16_384
    assert model.prefill_flops(1000) / 1000 == pytest.approx(2 * 3.3e9, rel=0.2)
    assert model.step_bytes(1, 0) == pytest.approx(6.6e9, rel=0.1)
    assert model.step_bytes(64, 0) == pytest.approx(60e9, rel=0.03)


def test_a_gpu_that_reaches_all_of_its_rates_has_the_known_floors(model: Model) -> None:
    best = Gpu(compute_share=1, memory_share=1)
    costs = gpu.costs(Costs(), ROWS, model, best, Traffic(text=0, tokens=2))
    assert costs.step_s(64, 0) == pytest.approx(0.0155, rel=0.05)  # 60 GB of weights, and the KV
    assert costs.step_s(0, 100) == pytest.approx(100 * costs.prefill_token)


def test_rows_of_the_models_width_cost_the_event_loops(basis: tables.Basis) -> None:
    rows = basis.traffic.visual
    assert basis.costs.encoder_hit == pytest.approx(MEASURED.encoder_hit + rows * ROWS.send)
    assert basis.costs.decoder_ask == pytest.approx(MEASURED.decoder_ask + rows * ROWS.receive)


def test_a_split_takes_the_most_requests() -> None:
    assert split(10, 1.0, 1.0) == Setup(5, 5)
    assert split(10, 0.001, 1.0) == Setup(1, 9)
    assert split(100, 1.0, 3.0) == Setup(25, 75)


def test_parts_of_a_fleet_grow_with_it_and_shared_parts_do_not(basis: tables.Basis) -> None:
    def parts(setup: Setup) -> dict[str, float]:
        return capacities(setup, basis.costs, basis.traffic, SHARED, 2.0, basis.model.row_bytes)

    small, large = parts(Setup(2, 8)), parts(Setup(20, 80))
    assert large["decoder GPUs"] == pytest.approx(10 * small["decoder GPUs"])
    assert large["ledger, one PostgreSQL"] == small["ledger, one PostgreSQL"] == 3000
    assert large["encoder event loops"] < 10 * small["encoder event loops"]  # more decoders check each
    assert small["busiest owner (rendezvous)"] < small["encoder event loops"]


def test_a_fleet_without_postgres_owes_its_ledger(basis: tables.Basis) -> None:
    planned = tables.plan(replace(basis, shared=replace(SHARED, postgres_records=None)), 10, 1)
    assert "ledger, one PostgreSQL" not in planned.parts


def test_the_first_limit_is_the_smallest_part_and_prices_the_fleet(basis: tables.Basis) -> None:
    planned = tables.plan(basis, 100, 1)
    first, following, *_ = planned.limits
    assert planned.parts[first] <= planned.parts[following]
    assert planned.rate == pytest.approx(0.8 * planned.parts[first])
    assert planned.hours == pytest.approx(100 * 1e6 / planned.rate / 3600)


def test_random_owners_stand_for_rendezvous_hashing() -> None:
    """Rendezvous hashing gives each of three encoders a third of the pictures, and every second place too."""
    names, count = ["encoder-0", "encoder-1", "encoder-2"], 6000
    hashed = Counter(owner(f"sha256:{number}", names) for number in range(count))
    drawn = Counter(
        place for n in range(count) for place in enumerate(tables.ranked_at_random(str(n), names))
    )
    three_errors = 3 * np.sqrt(count * 2 / 9)
    for shares in (hashed, *({k[1]: v for k, v in drawn.items() if k[0] == place} for place in (0, 1))):
        assert set(shares) == set(names)
        assert all(abs(share - count / 3) < three_errors for share in shares.values())
    assert tables.ranked_at_random("a", ["only"]) == ["only"]


def test_popular_pictures_load_an_owner_and_equal_ones_do_not() -> None:
    assert busiest_share(10, 1_000_000, 0.0, 0) < 1.02
    assert busiest_share(10, 1_000_000, 1.0, 0) > 1.3
    assert busiest_share(1, 1000, 1.0, 0) == pytest.approx(1)


def test_the_hit_rate_is_that_of_a_cache_that_evicts_by_last_use() -> None:
    popularity, capacity, requests = zipf(500, 0.8), 100, 60_000
    held, hits = OrderedDict[int, None](), 0
    for picture in np.random.default_rng(0).choice(500, requests, p=popularity).tolist():
        hits += picture in held
        held[picture] = None
        held.move_to_end(picture)
        if len(held) > capacity:
            held.popitem(last=False)
    assert hit_rate(popularity, capacity) == pytest.approx(hits / requests, abs=0.01)


def test_a_capacity_has_the_hit_rate_that_it_is_for() -> None:
    popularity = zipf(10_000, 0.9)
    for rate in (0.5, 0.9):
        assert hit_rate(popularity, capacity_for(popularity, rate)) == pytest.approx(rate, abs=1e-6)
    assert hit_rate(popularity, 10_000) == 1


def test_a_simulated_fleet_serves_what_it_is_offered(basis: tables.Basis) -> None:
    """At 80 % of its first limit a fleet keeps up: it answers what arrives, within seconds."""
    planned = tables.plan(basis, 10, 1)
    outcome = tables.simulate(basis, planned)
    arrivals = planned.rate * tables.COUNTED_S
    assert len(outcome.ttft_s) == pytest.approx(arrivals, abs=4 * arrivals**0.5)
    assert np.quantile(outcome.ttft_s, 0.99) < 2


@pytest.mark.long
def test_the_page_has_every_table_and_its_plot(basis: tables.Basis, tmp_path: Path) -> None:
    known = Calibration(MEASURED, Shape(1024, 280, 16), 0.1, 0.2, {})
    rounds = [Observed(10.0 + n / 10, 0.5, 0.0) for n in range(4)]
    predicted = Outcome(10.0, [0.5] * 100, [0.6] * 100)
    compared = [Comparison(Setup(n, m), predicted, rounds) for n in (1, 2) for m in (1, 2)]
    taken = {"error_2_encoders": Measure("ratio", 0.05, 8, 0.01, 0.1, 0.15, "at most")}
    derived = Derived.of(basis, ROWS, gpus=(4, 8))
    page.write(tmp_path / "scaling.md", known, compared, derived, taken, Load(), 0)
    text = (tmp_path / "scaling.md").read_text()
    for part in ("| 2x2 |", "`error_2_encoders`", "8 GPUs: ", "4096 x 4096", "hit rate", "seed 0"):
        assert part in text
    assert "{" not in text
    assert (tmp_path / "img" / "scaling.png").stat().st_size > 10_000
