"""The measures of `bench.affinity`."""

from __future__ import annotations

import itertools
import time
from threading import Barrier

import pytest

from bench import affinity
from bench.parts.timing import Round, TimedAnswer, time_arrivals
from fovea.contract.receipt import Receipt, Stages, Totals


def timed_round(ttft_ms: float, cached: int) -> Round:
    """Ten answers of 1,000 prompt tokens."""
    totals = Totals(visual_tokens=900, text_tokens=100, cached_prompt_tokens=cached, output_tokens=1)
    return Round(1.0, [TimedAnswer(ttft_ms, ttft_ms, Receipt((), totals, Stages()))] * 10)


def rounds(ttft_ms: float, cached: int) -> dict[str, list[Round]]:
    """Of which taking turns costs 100 ms, and the single decoder has 700 of 1,000 tokens cached."""
    return {
        "affinity": [timed_round(ttft_ms, cached)] * 3,
        "round_robin": [timed_round(100.0, 400)] * 3,
        "one": [timed_round(300.0, 700)] * 3,
    }


def test_the_loss_is_in_points_of_the_single_decoders_hit_rate() -> None:
    taken = affinity.measures(rounds(60.0, 680), seed=0)
    assert taken["prefix_loss"].value == pytest.approx(2.0)
    assert taken["ttft_vs_round_robin"].value == pytest.approx(0.6)
    assert all(measure.met for measure in taken.values())


def test_a_larger_loss_and_a_slower_first_token_are_not_met() -> None:
    taken = affinity.measures(rounds(80.0, 660), seed=0)
    assert not any(measure.met for measure in taken.values())


def test_one_of_two_decoders_cannot_hold_the_pictures_of_a_round_and_both_can() -> None:
    for protocol in (affinity.FULL, affinity.QUICK):
        pictures = protocol.pictures * 1024
        assert affinity._kv_tokens(protocol) < 0.8 * pictures
        assert 2 * affinity._kv_tokens(protocol) > 1.3 * pictures


def test_arrivals_do_not_wait_for_answers_and_are_timed_from_when_they_were_due() -> None:
    together = Barrier(5)

    def ask(request: int, arrival: float) -> tuple[int, float]:
        assert time.perf_counter() >= arrival
        together.wait(30)  # nobody is answered before all have arrived
        return request, arrival

    answers = time_arrivals(ask, range(5), 50.0).answers
    assert [request for request, _ in answers] == list(range(5))
    dues = [due for _, due in answers]
    assert [later - due for due, later in itertools.pairwise(dues)] == pytest.approx([0.02] * 4)
