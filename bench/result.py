"""What a bench measured: values with bounds and targets, and what was compared. Independent of any bench."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench import bounds
from bench.bounds import Bounded

DIGITS = 6
Sense = Literal["at least", "at most"]
Observations = Sequence[float] | Sequence[Sequence[float]]
Samples = Mapping[str, Sequence[float]]
"""By the name of a measure, a value for each turn."""
Ratio = Callable[[Any, Any, int], Bounded]


@dataclass(frozen=True)
class Measure:
    """A measured value. Without a value it is owed; without a target it cannot be met.

    `met` compares the value itself with the target; the bounds say how far to trust it.
    """

    unit: str
    value: float | None
    n: int = 0
    lower: float | None = None
    upper: float | None = None
    target: float | None = None
    sense: Sense = "at least"

    @classmethod
    def of(
        cls, unit: str, bounded: Bounded, target: float | None = None, sense: Sense = "at least"
    ) -> Measure:
        return cls(unit, bounded.value, bounded.n, bounded.lower, bounded.upper, target, sense)

    @classmethod
    def median(cls, unit: str, values: Sequence[float], seed: int) -> Measure:
        """The median of independent observations; owed where there are none."""
        return cls.of(unit, bounds.median(values, seed)) if values else cls(unit, None)

    @classmethod
    def ratio(
        cls,
        numerators: Observations,
        denominators: Observations,
        seed: int,
        target: float | None = None,
        sense: Sense = "at least",
        statistic: Ratio = bounds.ratio_of_medians,
    ) -> Measure:
        """The ratio of two medians of the same turns; owed where a side has no observations.

        Another `statistic` takes the numerators, the denominators and the seed.
        """
        if not numerators or not denominators:
            return cls("ratio", None, target=target, sense=sense)
        return cls.of("ratio", statistic(numerators, denominators, seed), target, sense)

    @property
    def met(self) -> bool | None:
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.sense == "at least" else self.value <= self.target

    def owed(self) -> Measure:
        """The same measure, not taken."""
        return replace(self, value=None, n=0, lower=None, upper=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "value": _rounded(self.value),
            "unit": self.unit,
            "n": self.n,
            "lower": _rounded(self.lower),
            "upper": _rounded(self.upper),
            "target": _rounded(self.target),
            "met": self.met,
        }


@dataclass(frozen=True)
class Result:
    """What a run of a bench measured. `sides` is what was compared: ours, and each peer with its version.

    `facts` are shown above the measures on the card, `notes` below, a line each.
    """

    config: Mapping[str, Any]
    sides: Mapping[str, Mapping[str, Any]]
    measures: Mapping[str, Measure]
    dataset_digest: str | None = None
    facts: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def owed(self) -> list[str]:
        return [name for name, measure in self.measures.items() if measure.value is None]

    @property
    def ok(self) -> bool:
        """Whether every measure that was taken and has a target is met."""
        return all(measure.met is not False for measure in self.measures.values())


def medians(unit: str, samples: Samples, seed: int) -> dict[str, Measure]:
    """A median for each of several samples, under its name."""
    return {name: Measure.median(unit, values, seed) for name, values in samples.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
