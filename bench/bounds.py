"""Bounds at 95 % for what was measured: binomial, bootstrap, order statistics. Knows no file and no service.

The bootstrap is the percentile bootstrap with 2,000 resamples: what was measured together (a turn of a bench,
the questions about one picture) is drawn together, so that what they share cannot narrow the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
TAILS = (2.5, 97.5)
NORMAL = 1.959964
FEWEST_ROUNDS = 6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounded:
    """A figure, its 95 % bounds, and from how many observations it comes."""

    value: float
    lower: float
    upper: float
    n: int


def bootstrap(samples: npt.ArrayLike, statistic: Callable[[Floats], Floats], seed: int = 0) -> Bounded:
    """`samples` is (n, ...), drawn along its first axis; `statistic` maps (draws, n, ...) to (draws,)."""
    values = np.asarray(samples, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"{len(values)} observations have no bounds")
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    lower, upper = np.percentile(statistic(values[drawn]), TAILS)
    return Bounded(float(statistic(values[None])[0]), float(lower), float(upper), len(values))


def median(samples: Sequence[float], seed: int = 0) -> Bounded:
    """The median of independent observations."""
    return bootstrap(samples, lambda drawn: np.median(drawn, axis=1), seed)


def mean(samples: npt.ArrayLike, seed: int = 0) -> Bounded:
    """The mean of independent observations, or of paired differences."""
    values = np.asarray(samples, dtype=np.float64)
    return bootstrap(values, lambda drawn: drawn.mean(axis=1), seed)


def share(right: int, n: int) -> Bounded:
    """Independent yes or no answers, by the exact binomial (Clopper and Pearson)."""
    tail = (100 - TAILS[1]) / 100
    lower = _edge(lambda chance: chance_of_at_least(right, n, chance) >= tail) if right else 0.0
    upper = _edge(lambda chance: 1 - chance_of_at_least(right + 1, n, chance) <= tail) if right < n else 1.0
    return Bounded(right / n, lower, upper, n)


def difference_of_shares(gained: int, lost: int, n: int) -> Bounded:
    """Of `n` pairs, those right only the first time less those right only the second (Agresti and Min, 2005).

    Half an observation in each cell of the paired table keeps the bounds apart where all pairs agree.
    """
    pairs, difference = n + 2, (gained - lost) / (n + 2)
    error = math.sqrt((gained + lost + 1) / pairs - difference**2) / math.sqrt(pairs)
    lower, upper = (difference + sign * NORMAL * error for sign in (-1, 1))
    return Bounded((gained - lost) / n, max(-1.0, lower), min(1.0, upper), n)


def _edge(reached: Callable[[float], bool]) -> float:
    """The smallest chance at which `reached` holds, by halving; it holds from there on."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def ratio_of_medians(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Bounded:
    """median(above) / median(below), where the two were measured in the same turns."""
    pairs = np.column_stack([above, below])

    def ratio(drawn: Floats) -> Floats:
        medians = np.median(drawn, axis=1)
        return np.asarray(medians[:, 0] / medians[:, 1])

    return bootstrap(pairs, ratio, seed)


def median_of_rounds(rounds: Sequence[float]) -> Bounded:
    """The median of a few rounds, bounded by their smallest and largest.

    With six rounds or more the true median lies between those with a chance of at least 1 - 2**-5 = 97 %,
    whatever the distribution; a bootstrap of so few would promise too much.
    """
    if len(rounds) < FEWEST_ROUNDS:
        raise ValueError(f"{len(rounds)} rounds do not bound a median at 95 %; {FEWEST_ROUNDS} do")
    return Bounded(float(np.median(rounds)), min(rounds), max(rounds), len(rounds))


def chance_of_at_least(right: int, n: int, chance: float) -> float:
    """The probability that `n` independent guesses, right with probability `chance`, give `right` or more."""
    if right <= 0:
        return 1.0
    log_p, log_q = math.log(chance), math.log1p(-chance)
    terms = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_p + (n - k) * log_q
        for k in range(right, n + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))
