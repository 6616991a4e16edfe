"""The band of an error rate: how many errors a calibrated rate explains.

The bound is binomial. The calibrated rate is itself an estimate, so that its upper confidence limit is
compared (Wilson). Pure functions and a window; independent of what is counted.
"""

from __future__ import annotations

import math
from collections import deque

WINDOW = 256
LEAST = 16
"""Comparisons before the first verdict."""
RARE = 1e-4
"""Probability of more errors than the bound, at each comparison."""
SURE_Z = 1.645


def upper_rate(errors: int, count: int, z: float = SURE_Z) -> float:
    """Wilson's upper limit of a rate of which `errors` of `count` were seen."""
    if count == 0:
        return 1.0
    rate, square = errors / count, z * z
    centre = rate + square / (2 * count)
    spread = z * math.sqrt(rate * (1 - rate) / count + square / (4 * count * count))
    return min(1.0, (centre + spread) / (1 + square / count))


def most_errors(count: int, rate: float, rare: float = RARE) -> int:
    """The most errors of `count` that a rate explains: more are as improbable as `rare`."""
    if rate >= 1:
        return count
    probability = (1 - rate) ** count
    total, errors = probability, 0
    while total < 1 - rare and errors < count:
        probability *= (count - errors) / (errors + 1) * rate / (1 - rate)
        errors += 1
        total += probability
    return errors


class ErrorBand:
    """The latest comparisons, and whether their errors are more than a calibrated rate explains."""

    def __init__(self, errors: int, count: int, window: int = WINDOW) -> None:
        """`errors` of `count` comparisons were wrong when the rate was calibrated."""
        self.usual = errors / count if count else 0.0
        self.left = False
        """Whether the rate is above its band now. It is back once the calibrated rate explains the latest."""
        self._rate = upper_rate(errors, count)
        self._latest: deque[bool] = deque(maxlen=window)

    @property
    def value(self) -> float:
        """The rate of the latest comparisons."""
        return sum(self._latest) / len(self._latest) if self._latest else 0.0

    @property
    def bound(self) -> float:
        """The highest rate of the latest comparisons within the band."""
        count = max(LEAST, len(self._latest))
        return most_errors(count, self._rate) / count

    def add(self, is_error: bool) -> bool:
        """Add a comparison. Returns whether the rate has left its band with it."""
        self._latest.append(is_error)
        if self.left:
            self.left = self.value > self._rate
            return False
        count = len(self._latest)
        self.left = count >= LEAST and sum(self._latest) > most_errors(count, self._rate)
        return self.left
