"""Events that become more frequent, and how rarely a calm series raises an alarm."""

from __future__ import annotations

import math
import random

import pytest

from decoder_svc.ledger.drift import ALARM, Evidence, RateDrift, log_ratio, raised, rate

VALUES = 200_000


@pytest.mark.parametrize("usual", [0.0, 0.02, 0.1, 0.3, 0.6, 0.9])
def test_a_calm_series_keeps_to_lordens_bound(usual: float) -> None:
    """Although its rate has to be learned."""
    dice, drift = random.Random(f"{usual}"), RateDrift(1)
    alarms = sum(drift.push(dice.random() < usual) for _ in range(VALUES))
    assert alarms <= VALUES / math.exp(ALARM)


def test_the_mean_ratio_of_a_calm_series_is_1() -> None:
    """The condition of the bound."""
    for usual in (0.01, 0.2, 0.85):
        ratios = [math.exp(log_ratio(event, usual, raised(usual))) for event in (True, False)]
        assert usual * ratios[0] + (1 - usual) * ratios[1] == pytest.approx(1)


def test_a_rate_that_was_never_seen_is_not_zero() -> None:
    assert rate(0, 0) == 0.5
    assert 0 < rate(0, 1000) < 0.001
    assert 0.999 < rate(1000, 1000) < 1


def test_evidence_against_a_shift_is_not_saved_up() -> None:
    evidence = Evidence(alarm=3.0)
    assert not any(evidence.add(-10.0) for _ in range(10))
    assert [evidence.add(1.0) for _ in range(5)] == [False, False, False, True, False]


def test_after_an_alarm_the_new_rate_is_learned() -> None:
    """A series that stays at its new rate is calm."""
    dice, drift = random.Random(1), RateDrift()
    assert not any(drift.push(dice.random() < 0.1) for _ in range(1000))
    assert sum(drift.push(dice.random() < 0.9) for _ in range(5000)) == 1
