"""95 % bounds by scipy.stats: percentile bootstrap, exact binomial, order statistics.

The bootstrap resamples observations, not values: what was measured together (a turn of a bench, the questions
about a picture) is drawn together, because independent draws would make the bounds too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

RESAMPLES = 2000
CONFIDENCE = 0.95
NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
FEWEST_ROUNDS = 6
"""Fewer rounds do not bound a median at 95 %, whatever their distribution."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounded:
    """A value with its 95 % bounds, from `n` observations."""

    value: float
    lower: float
    upper: float
    n: int

    def scaled(self, factor: float) -> Bounded:
        """The same in another unit; `factor` is positive."""
        return Bounded(factor * self.value, factor * self.lower, factor * self.upper, self.n)


def bootstrap(samples: npt.ArrayLike, statistic: Callable[[Floats], Floats], seed: int = 0) -> Bounded:
    """Resample (n, ...) observations along the first axis; `statistic` maps (draws, n, ...) to (draws,)."""
    values = np.asarray(samples, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"{len(values)} observations have no bounds")
    interval = stats.bootstrap(
        (np.arange(len(values)),),
        lambda drawn, axis: statistic(values[drawn.astype(int)]),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Bounded(float(statistic(values[None])[0]), float(interval.low), float(interval.high), len(values))


def median(samples: Sequence[float], seed: int = 0) -> Bounded:
    """The median of independent observations."""
    return bootstrap(samples, lambda drawn: np.median(drawn, axis=1), seed)


def mean(samples: npt.ArrayLike, seed: int = 0) -> Bounded:
    """The mean of independent observations, or of paired differences."""
    return bootstrap(samples, lambda drawn: drawn.mean(axis=1), seed)


def ratio_of_means(numerators: npt.ArrayLike, denominators: npt.ArrayLike, seed: int = 0) -> Bounded:
    """mean(numerators) / mean(denominators) of paired observations."""
    return _ratio(numerators, denominators, np.mean, seed)


def ratio_of_medians(numerators: npt.ArrayLike, denominators: npt.ArrayLike, seed: int = 0) -> Bounded:
    """median(numerators) / median(denominators) of values that were measured in the same turns."""
    return _ratio(numerators, denominators, np.median, seed)


def ratio_of_quantiles(quantile: float) -> Callable[[npt.ArrayLike, npt.ArrayLike, int], Bounded]:
    """A ratio of quantiles, each over all values of all rounds, (rounds, values)."""

    def ratio(numerators: npt.ArrayLike, denominators: npt.ArrayLike, seed: int = 0) -> Bounded:
        return _ratio(numerators, denominators, lambda drawn, axis: np.quantile(drawn, quantile, axis), seed)

    return ratio


def _ratio(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, statistic: Callable[..., Floats], seed: int
) -> Bounded:
    """Both sides of a turn are drawn together, with all values of the turn."""
    pairs = np.stack([np.asarray(numerators), np.asarray(denominators)], axis=1)

    def ratio(drawn: Floats) -> Floats:
        above, below = (drawn[:, :, side].reshape(len(drawn), -1) for side in (0, 1))
        return np.asarray(statistic(above, axis=1) / statistic(below, axis=1))

    return bootstrap(pairs, ratio, seed)


def median_of_rounds(rounds: Sequence[float]) -> Bounded:
    """The median of a few rounds with exact bounds from order statistics; of six, their smallest and largest.

    A bootstrap of so few rounds would be too narrow.
    """
    if len(rounds) < FEWEST_ROUNDS:
        raise ValueError(f"{len(rounds)} rounds do not bound a median at 95 %; {FEWEST_ROUNDS} do")
    interval = stats.quantile_test(rounds, p=0.5).confidence_interval(CONFIDENCE)
    return Bounded(float(np.median(rounds)), float(interval.low), float(interval.high), len(rounds))


def share(right: int, n: int) -> Bounded:
    """The share of independent yes-or-no answers, by the exact binomial (Clopper and Pearson)."""
    interval = stats.binomtest(right, n).proportion_ci(CONFIDENCE, method="exact")
    return Bounded(right / n, float(interval.low), float(interval.high), n)


def chance_of_at_least(right: int, n: int, chance: float) -> float:
    """The probability that `n` guesses, each right with probability `chance`, give `right` or more."""
    return float(stats.binom.sf(right - 1, n, chance))


def difference_of_shares(gained: int, lost: int, n: int) -> Bounded:
    """The paired difference of two shares, by Agresti and Min (2005), which scipy does not have.

    `gained` pairs are right only the first time, `lost` only the second. Half an observation in each cell of
    the paired table keeps the bounds apart where all pairs agree.
    """
    pairs, difference = n + 2, (gained - lost) / (n + 2)
    error = math.sqrt((gained + lost + 1) / pairs - difference**2) / math.sqrt(pairs)
    lower, upper = (difference + sign * NORMAL * error for sign in (-1, 1))
    return Bounded((gained - lost) / n, max(-1.0, lower), min(1.0, upper), n)
