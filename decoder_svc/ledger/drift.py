"""Tests whether a series has left its level: robust statistics, a warm-up, and a cumulative sum.

Evidence for a shift adds up over values (Page's CUSUM) and is forgotten when values fit the baseline, so that
a single outlier means nothing. Values reach the baseline after a delay, which is longer than a shift takes to
be noticed. After an alarm the series learns its new level.
"""

from __future__ import annotations

import math
from collections import deque
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


class LevelDrift:
    """Values that rise: median and MAD of logarithms. `push` says whether the level has left the baseline."""

    SLACK, CLIP, ALARM = 0.75, 2.5, 9.0
    LEAST_SPREAD = 0.1

    def __init__(self) -> None:
        self.usual = 1.0
        self._level = 0.0
        self._spread = self.LEAST_SPREAD
        self._baseline = _Baseline()
        self._evidence = 0.0
        self._count = 0

    def push(self, value: float) -> bool:
        logarithm = math.log(max(value, 1.0))
        if self._baseline.is_warm:
            if self._count % REFRESH == 0:
                self._estimate()
            self._count += 1
            deviation = (logarithm - self._level) / self._spread
            gained = max(-self.CLIP, min(self.CLIP, deviation)) - self.SLACK
            self._evidence = max(0.0, self._evidence + gained)
        self._baseline.push(logarithm)
        if self._evidence <= self.ALARM:
            return False
        self._baseline, self._evidence, self._count = _Baseline(), 0.0, 0
        return True

    def _estimate(self) -> None:
        values = self._baseline.values
        self._level = median(values)
        self._spread = max(self.LEAST_SPREAD, 1.4826 * median(abs(value - self._level) for value in values))
        self.usual = math.exp(self._level)


class RateDrift:
    """Events that become much more frequent: a likelihood ratio against the rate of the baseline."""

    ALARM = 9.0
    LEAST, MOST = 0.02, 0.9
    JUMP = 0.8
    """The share of the way to 1 at which a rate is anomalous."""

    def __init__(self) -> None:
        self.usual = 0.0
        self._baseline = _Baseline()
        self._evidence = 0.0

    def push(self, event: bool) -> bool:
        if self._baseline.is_warm:
            values = self._baseline.values
            self.usual = sum(values) / len(values)
            usual = min(self.MOST, max(self.LEAST, self.usual))
            high = usual + self.JUMP * (1 - usual)
            gained = math.log(high / usual) if event else math.log((1 - high) / (1 - usual))
            self._evidence = max(0.0, self._evidence + gained)
        self._baseline.push(event)
        if self._evidence <= self.ALARM:
            return False
        self._baseline, self._evidence = _Baseline(), 0.0
        return True
