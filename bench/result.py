"""The last line of every bench: measures with bounds and targets, the machine, the commit.

The shape is a promise to machines: fields are added, never renamed. Knows no bench.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.bounds import Bounded
from bench.host import commit, dirty, host

SCHEMA = 1
DIGITS = 6
Sense = Literal["at least", "at most"]


@dataclass(frozen=True)
class Measure:
    """One figure. Without a target nothing can be met; without a value it was not measured and is owed.

    `met` compares the value itself with the target; the bounds tell how far to trust it.
    """

    unit: str
    value: float | None
    n: int = 0
    lower: float | None = None
    upper: float | None = None
    target: float | None = None
    sense: Sense = "at least"

    @classmethod
    def of(cls, unit: str, found: Bounded, target: float | None = None, sense: Sense = "at least") -> Measure:
        return cls(unit, found.value, found.n, found.lower, found.upper, target, sense)

    @property
    def met(self) -> bool | None:
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.sense == "at least" else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        figures = {name: _rounded(getattr(self, name)) for name in ("value", "lower", "upper", "target")}
        return {
            "value": figures["value"],
            "unit": self.unit,
            "n": self.n,
            "lower": figures["lower"],
            "upper": figures["upper"],
            "target": figures["target"],
            "met": self.met,
        }


@dataclass(frozen=True)
class Result:
    """What one run of a bench found. `sides` is what was compared: ours, and each peer with its version."""

    bench: str
    seed: int
    quick: bool
    config: Mapping[str, Any]
    sides: Mapping[str, Mapping[str, Any]]
    measures: Mapping[str, Measure]
    dataset_digest: str | None = None
    host: Mapping[str, Any] = field(default_factory=host)

    @property
    def owed(self) -> Sequence[str]:
        return [name for name, measure in self.measures.items() if measure.value is None]

    @property
    def ok(self) -> bool:
        """Every measure that was taken and has a target is met."""
        return all(measure.met is not False for measure in self.measures.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "bench": self.bench,
            "commit": commit(),
            "dirty": dirty(),
            "seed": self.seed,
            "quick": self.quick,
            "host": dict(self.host),
            "config": dict(self.config),
            "dataset_digest": self.dataset_digest,
            "sides": {name: dict(side) for name, side in self.sides.items()},
            "measures": {name: measure.as_json() for name, measure in self.measures.items()},
            "owed": list(self.owed),
            "ok": self.ok,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
