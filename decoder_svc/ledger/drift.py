"""Tests whether a series has left its level: robust statistics, a warm-up, and a cumulative sum.

Evidence for a shift adds up over values (Page's CUSUM) and is forgotten when values fit the baseline, so that
a single outlier means nothing. Traffic comes in bursts, whose values are not independent: no value adds more
than a bounded part of the evidence that an alarm takes. Values reach the baseline after a delay, which is
longer than a shift takes to be noticed. After an alarm the series learns its new level.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

WARM_UP = 64
BASELINE = 256
DELAY = 24
REFRESH = 16
"""Values between two estimates of a level."""


class _Baseline:
    """The values of a series up to DELAY values ago."""

    def __init__(self) -> None:
        self.values: deque[float] = deque(maxlen=BASELINE)
        self._recent: deque[float] = deque()

    @property
    def is_warm(self) -> bool:
        return len(self.values) >= WARM_UP

    def push(self, value: float) -> None:
        self._recent.append(value)
        if len(self._recent) > DELAY:
            self.values.append(self._recent.popleft())


@dataclass
class Evidence:
    """A cumulative sum that is never negative."""

    alarm: float
    total: float = 0.0

    def add(self, gained: float) -> bool:
        """Whether there is enough for an alarm, after which the sum begins anew."""
        self.total = max(0.0, self.total + gained)
        if self.total <= self.alarm:
            return False
        self.total = 0.0
        return True


class Level:
    """A usual value: median and MAD of logarithms."""

    LEAST_SPREAD = 0.1

    def __init__(self) -> None:
        self._baseline = _Baseline()
        self._median, self.spread = 0.0, self.LEAST_SPREAD
        self._count = 0

    @property
    def usual(self) -> float:
        return math.exp(self._median)

    def deviation(self, logarithm: float) -> float | None:
        """Of a value from the baseline, in spreads; None while the baseline is too short. Notes the value."""
        deviation = None
        if self._baseline.is_warm:
            if self._count % REFRESH == 0:
                self._estimate()
            self._count += 1
            deviation = (logarithm - self._median) / self.spread
        self._baseline.push(logarithm)
        return deviation

    def _estimate(self) -> None:
        values = self._baseline.values
        self._median = median(values)
        self.spread = max(self.LEAST_SPREAD, 1.4826 * median(abs(value - self._median) for value in values))


class LevelDrift:
    """Values of several kinds that rise. Each kind has its own level; evidence adds up within a kind, and
    over all kinds. A value close to the one before, such as that of another page of a document, says little
    new.
    """

    SLACK, CLIP, ALARM = 0.75, 2.5, 9.0
    NEAR, REPEATED = 0.5, 0.25
    """Difference of logarithms below which a value repeats the one before, and the weight of a repeat."""

    def __init__(self) -> None:
        self.usual = 0.0
        self._levels: dict[str, Level] = {}
        self._evidence: dict[str, Evidence] = {}
        self._of_all = Evidence(self.ALARM)
        self._last: dict[str, float] = {}

    def push(self, value: float, kind: str = "", before: float | None = None) -> bool:
        """Whether values have risen, of this kind or of all kinds. `before` is what the same thing had: an
        equal value is no evidence, and another is compared with it rather than with the level.
        """
        logarithm = math.log(max(value, 1.0))
        level = self._levels.setdefault(kind, Level())
        deviation, self.usual = level.deviation(logarithm), level.usual
        weight = self.REPEATED if abs(logarithm - self._last.get(kind, math.inf)) < self.NEAR else 1.0
        self._last[kind] = logarithm
        if deviation is None or before == value:
            return False
        if before is not None:
            deviation, weight = (logarithm - math.log(max(before, 1.0))) / level.spread, 1.0
        return self._add(weight * (max(-self.CLIP, min(self.CLIP, deviation)) - self.SLACK), kind)

    def _add(self, gained: float, kind: str) -> bool:
        of_kind = self._evidence.setdefault(kind, Evidence(self.ALARM)).add(gained)
        of_all = self._of_all.add(gained)
        if of_all:
            self._levels.clear()
            self._evidence.clear()
        elif of_kind:
            del self._levels[kind]
            self._of_all.total = 0.0
        return of_all or of_kind


class RateDrift:
    """Events that become much more frequent: a likelihood ratio against the rate of the baseline.

    `least_run` events in a row are the fewest that raise an alarm, however rare they were.
    """

    ALARM = 13.0
    LEAST, MOST = 0.02, 0.9
    JUMP = 0.8
    """The share of the way to 1 at which a rate is anomalous."""

    def __init__(self, least_run: int = 10) -> None:
        self.usual = 0.0
        self._most_gained = self.ALARM / (least_run - 0.5)
        self._baseline = _Baseline()
        self._evidence = Evidence(self.ALARM)

    def push(self, event: bool) -> bool:
        alarms = False
        if self._baseline.is_warm:
            values = self._baseline.values
            self.usual = sum(values) / len(values)
            usual = min(self.MOST, max(self.LEAST, self.usual))
            high = usual + self.JUMP * (1 - usual)
            gained = math.log(high / usual) if event else math.log((1 - high) / (1 - usual))
            alarms = self._evidence.add(min(self._most_gained, gained))
        self._baseline.push(event)
        if alarms:
            self._baseline = _Baseline()
        return alarms
