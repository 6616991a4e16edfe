"""The load of `bench.reuse`, and its measures."""

from __future__ import annotations

import numpy as np
import pytest

from bench import reuse
from bench.parts.timing import Round, TimedAnswer
from bench.reuse import Protocol, requests
from fovea.contract.receipt import Receipt, Stages, Totals

PROTOCOL = Protocol(rounds=1, requests=50, pictures=10, concurrency=4, words=5, tokens=150)


def test_requests_are_80_percent_about_repeated_pictures() -> None:
    places = [request.picture for request in requests(PROTOCOL, 1)]
    first_seen = sum(place not in places[:at] for at, place in enumerate(places))
    assert first_seen == 10 == len(set(places))
    assert 1 - first_seen / len(places) == pytest.approx(PROTOCOL.reuse) == pytest.approx(0.8)


def test_texts_all_differ_and_a_seed_repeats_them() -> None:
    assert len({request.text for request in requests(PROTOCOL, 1)}) == 50
    assert requests(PROTOCOL, 1) == requests(PROTOCOL, 1) != requests(PROTOCOL, 2)


def timed_round(ttft_ms: list[float], seconds: float) -> Round:
    receipt = Receipt((), Totals(output_tokens=150), Stages())
    return Round(seconds, [TimedAnswer(ms, ms, receipt) for ms in ttft_ms])


def test_measures_are_with_caches_against_without() -> None:
    slow = [100.0 + ms for ms in range(100)]
    rounds = [(timed_round([ms / 4 for ms in slow], 10.0), timed_round(slow, 20.0)) for _ in range(4)]
    taken = reuse.measures(rounds, seed=0)
    assert {name: measure.value for name, measure in taken.items()} == pytest.approx(
        {"ttft_mean": 0.25, "ttft_p90": 0.25, "ttft_p99": 0.25, "tokens_per_s": 2.0}
    )
    assert all(measure.met for measure in taken.values())


def test_a_worse_tail_is_not_met_despite_a_better_mean() -> None:
    with_caches = [10.0] * 97 + [500.0] * 3
    taken = reuse.measures([(timed_round(with_caches, 1.0), timed_round([100.0] * 100, 1.0))] * 3, seed=0)
    assert taken["ttft_mean"].met
    assert not taken["ttft_p99"].met
    assert np.isclose(taken["tokens_per_s"].value or 0, 1.0)
    assert not taken["tokens_per_s"].met
