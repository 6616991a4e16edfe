"""The threshold of a wanted accuracy, from labelled answers.

Answers of at least the threshold are kept, the others escalate. The wanted accuracy is that of the kept
answers: `absolute`, a share of right answers, or `relative` to the reference, the tier to which the others
escalate. Relative accuracy 0.99 means 99 right answers for every 100 of the reference on the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ROUNDING = 1e-6


class Measure(StrEnum):
    """What a wanted accuracy refers to."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


@dataclass(frozen=True)
class Judged:
    """An answer with its confidence. `disagrees` with the reference; both are None if it was not asked."""

    confidence: float
    right: bool
    reference_right: bool | None = None
    disagrees: bool | None = None


@dataclass(frozen=True)
class Kept:
    """The answers of at least `threshold`. A single count is as sure as `margin` says."""

    threshold: float
    answers: Sequence[Judged]

    @property
    def right(self) -> int:
        return sum(each.right for each in self.answers)

    @property
    def reference_right(self) -> int:
        return sum(bool(each.reference_right) for each in self.answers)

    @property
    def disagreed(self) -> int:
        return sum(bool(each.disagrees) for each in self.answers)


def choose(judged: Sequence[Judged], wanted: float, measure: Measure) -> Kept | None:
    """The lowest threshold whose answers reach the wanted accuracy; None if there is none.

    They reach it if their mean does by a standard error, with one wrong answer added. A threshold that only
    reaches it by luck of these answers would miss it on others.
    """
    ranked = sorted(judged, key=lambda each: -each.confidence)
    best, sums = 0, _Sums()
    sums.add(-wanted)
    for count, each in enumerate(ranked, start=1):
        sums.add(_excess(each, wanted, measure))
        is_last = count == len(ranked) or ranked[count].confidence < each.confidence
        if is_last and sums.lower_bound >= 0:
            best = count
    return Kept(_below(ranked, best), ranked[:best]) if best else None


def _below(ranked: Sequence[Judged], count: int) -> float:
    """A threshold just below the last of `count` answers: rounding differs from one run to the next."""
    last = ranked[count - 1].confidence
    gap = last - ranked[count].confidence if count < len(ranked) else last
    return last - min(ROUNDING, gap / 2)


def _excess(each: Judged, wanted: float, measure: Measure) -> float:
    """By how much an answer is better than wanted; the mean of the kept answers must not be negative."""
    due = 1.0 if measure is Measure.ABSOLUTE else float(bool(each.reference_right))
    return each.right - wanted * due


class _Sums:
    """A running mean and its standard error."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = 0.0

    def add(self, value: float) -> None:
        self._count += 1
        self._sum += value
        self._squares += value * value

    @property
    def lower_bound(self) -> float:
        mean = self._sum / self._count
        variance = max(0.0, self._squares / self._count - mean * mean)
        return mean - math.sqrt(variance / self._count)
