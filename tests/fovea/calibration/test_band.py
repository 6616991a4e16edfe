"""The band of an error rate: quiet at the calibrated rate, loud above it."""

from __future__ import annotations

import random

import pytest
from scipy.stats import binom

from fovea.calibration.band import LEAST, RARE, ErrorBand, most_errors, upper_rate


@pytest.mark.parametrize("count", [16, 100, 256])
@pytest.mark.parametrize("rate", [0.001, 0.05, 0.3, 0.9])
def test_the_bound_is_the_quantile_of_the_binomial_distribution(count: int, rate: float) -> None:
    assert most_errors(count, rate) == binom.ppf(1 - RARE, count, rate)


def test_the_upper_limit_covers_what_few_comparisons_leave_open() -> None:
    assert upper_rate(0, 0) == 1.0
    assert upper_rate(0, 20) > upper_rate(0, 200) > upper_rate(0, 2000) > 0
    assert 0.05 < upper_rate(50, 1000) < 0.07


def alarms(band: ErrorBand, rate: float, count: int, seed: int) -> int:
    rng = random.Random(seed)
    return sum(band.add(rng.random() < rate) for _ in range(count))


def test_at_the_calibrated_rate_alarms_are_rare() -> None:
    assert sum(alarms(ErrorBand(20, 400), 0.05, 1000, seed) for seed in range(30)) <= 2


def test_a_rate_far_above_the_band_is_found_in_a_window() -> None:
    for seed in range(50):
        band = ErrorBand(20, 400)
        alarms(band, 0.05, 200, seed)
        assert not band.left
        assert alarms(band, 0.4, 100, seed) == 1
        assert band.left
        assert band.value > band.usual


def test_an_alarm_ends_when_the_rate_is_back_and_may_rise_again() -> None:
    band = ErrorBand(20, 400, window=64)
    assert alarms(band, 0.9, 64, 0) == 1
    assert alarms(band, 0.0, 64, 0) == 0
    assert not band.left
    assert alarms(band, 0.9, 64, 0) == 1


def test_a_few_errors_at_first_are_no_verdict() -> None:
    band = ErrorBand(0, 10_000)
    assert [band.add(True) for _ in range(LEAST)] == [False] * (LEAST - 1) + [True]


def test_a_rate_that_was_never_calibrated_never_alarms() -> None:
    assert alarms(ErrorBand(0, 0), 1.0, 300, 0) == 0
