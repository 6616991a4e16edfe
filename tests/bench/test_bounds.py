"""The bounds equal known results."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import bounds


def test_equal_observations_have_equal_bounds() -> None:
    bounded = bounds.median([3.0] * 10)
    assert (bounded.lower, bounded.value, bounded.upper, bounded.n) == (3.0, 3.0, 3.0, 10)


def test_mean_of_a_known_distribution_is_inside_the_bounds_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for trial in range(300):
        bounded = bounds.mean(rng.binomial(1, 0.3, 100).astype(float), seed=trial)
        inside += bounded.lower <= 0.3 <= bounded.upper
    # 95 % of 300 is 285, its standard error 3.8, and at n = 100 the
    # percentile bootstrap itself is known to promise a point or two too much.
    assert 270 <= inside <= 297


def test_bounds_follow_the_standard_error() -> None:
    samples = np.random.default_rng(2).normal(10, 2, 400)
    bounded = bounds.mean(samples)
    error = samples.std() / math.sqrt(400)
    # 2,000 resamples give the ends of the interval to about 5 % of its width.
    assert bounded.upper - bounded.lower == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert bounded.value == samples.mean()


def test_paired_ratio_is_exact_where_every_pair_has_it() -> None:
    below = np.random.default_rng(3).uniform(1, 9, 30)
    bounded = bounds.ratio_of_medians(list(2.5 * below), list(below))
    assert bounded.value == pytest.approx(2.5)
    assert bounded.lower == pytest.approx(2.5)
    assert bounded.upper == pytest.approx(2.5)


def test_ratio_bootstrap_draws_pairs_together() -> None:
    rng = np.random.default_rng(4)
    shared = rng.uniform(1, 9, 200)
    above, below = list(2 * shared), list(shared * rng.uniform(0.99, 1.01, 200))
    paired = bounds.ratio_of_medians(above, below)
    shuffled = bounds.ratio_of_medians(above, list(rng.permutation(below)))
    assert paired.value == shuffled.value
    assert paired.upper - paired.lower < 0.2 * (shuffled.upper - shuffled.lower)


def test_few_rounds_are_bounded_by_their_extremes_and_fewer_are_refused() -> None:
    bounded = bounds.median_of_rounds([5, 1, 4, 2, 6, 3])
    assert (bounded.lower, bounded.value, bounded.upper, bounded.n) == (1, 3.5, 6, 6)
    with pytest.raises(ValueError, match="5 rounds"):
        bounds.median_of_rounds([1, 2, 3, 4, 5])


def test_a_single_observation_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="no bounds"):
        bounds.mean([1.0])


@pytest.mark.parametrize(("right", "n", "chance"), [(0, 5, 0.2), (1, 5, 0.2), (3, 5, 0.5), (5, 5, 0.9)])
def test_chance_of_a_score_is_the_binomial_tail(right: int, n: int, chance: float) -> None:
    tail = sum(math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(right, n + 1))
    assert bounds.chance_of_at_least(right, n, chance) == pytest.approx(tail)


def test_chance_of_a_score_stays_a_probability_at_thousands() -> None:
    assert bounds.chance_of_at_least(1, 5000, 0.5) == pytest.approx(1)
    assert 0 < bounds.chance_of_at_least(2700, 5000, 0.5) < 1e-6


def test_bounds_of_a_share_are_the_exact_ones() -> None:
    all_right = bounds.share(60, 60)
    assert (all_right.value, all_right.upper) == (1.0, 1.0)
    assert all_right.lower == pytest.approx(0.025 ** (1 / 60))
    some = bounds.share(7, 50)  # by Clopper and Pearson's tables
    assert (some.lower, some.upper) == (pytest.approx(0.0582, abs=1e-4), pytest.approx(0.2674, abs=1e-4))
    none = bounds.share(0, 60)
    assert (none.lower, none.upper) == (0.0, pytest.approx(1 - 0.025 ** (1 / 60)))


def test_bounds_of_a_paired_difference_hold_as_often_as_promised() -> None:
    rng, inside = np.random.default_rng(5), 0
    for _ in range(400):
        cell = rng.multinomial(200, [0.7, 0.15, 0.05, 0.1])  # both, only first, only second, neither
        bounded = bounds.difference_of_shares(cell[1], cell[2], 200)
        inside += bounded.lower <= 0.10 <= bounded.upper
    assert 366 <= inside <= 394  # 380 are 95 %, the standard error is 4.4
