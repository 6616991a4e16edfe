"""Tests whether a series has left its level: likelihood ratios against a learned baseline, added up.

Every test is a cumulative sum of log-likelihood ratios (Page, Continuous Inspection Schemes, Biometrika 41,
1954), never below zero. Its alarm is set by the bound of Lorden (Procedures for Reacting to a Change in
Distribution, Annals of Mathematical Statistics 42, 1971): in a calm series, a sum with alarm `h` raises an
alarm no earlier than after `e^h` values on average. See ALARM.

The ratios compare how often an event happens: that a cost exceeds what is usual, or that an answer runs to
the limit. Frequencies are counted, not derived from a distribution, so the bound holds for any tail, as long
as values are independent. Traffic comes in bursts, whose values are not: a value that depends on the one
before weighs less, and no value adds more than a bounded part of the evidence for an alarm. Values reach the
baseline after a delay, which is longer than a shift takes to be noticed. After an alarm the series learns its
new level.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WARM_UP = 64
BASELINE = 256
DELAY = 24
REPEATED = 0.25
"""The weight of a value that depends on the one before."""
SUMS, FALSE_ALARMS, REQUESTS = 5, 2, 10_000
"""Sums to which a request adds: cost within a kind and over all kinds, new images, misses, length. The most
false alarms, on average, in so many requests.
"""
ALARM = math.log(SUMS * REQUESTS / FALSE_ALARMS)


class Baseline:
    """The values of a series up to DELAY values ago, and their sum."""

    def __init__(self) -> None:
        self.values: deque[float] = deque()
        self.total = 0.0
        self._recent: deque[float] = deque()

    @property
    def is_warm(self) -> bool:
        return len(self.values) >= WARM_UP

    def push(self, value: float) -> None:
        self._recent.append(value)
        if len(self._recent) > DELAY:
            self._learn(self._recent.popleft())

    def _learn(self, value: float) -> None:
        self.values.append(value)
        self.total += value
        if len(self.values) > BASELINE:
            self.total -= self.values.popleft()


@dataclass
class Evidence:
    """A cumulative sum that is never negative."""

    alarm: float = ALARM
    total: float = 0.0

    def add(self, gained: float) -> bool:
        """Whether there is enough for an alarm, after which the sum begins anew."""
        self.total = max(0.0, self.total + gained)
        if self.total <= self.alarm:
            return False
        self.total = 0.0
        return True


def log_ratio(event: bool, usual: float, anomalous: float) -> float:
    """The evidence of an event, or of its absence, by its probability in calm and in anomalous traffic."""
    return math.log(anomalous / usual) if event else math.log((1 - anomalous) / (1 - usual))


def rate(events: float, n: int) -> float:
    """The probability of the next event after `events` of `n` (Krichevsky and Trofimov, 1981)."""
    return (events + 0.5) / (n + 1)


JUMP = 0.9
"""The share of the way to 1 at which a rate is anomalous."""


def raised(usual: float) -> float:
    """The probability of an event from which on its frequency is anomalous."""
    return usual + JUMP * (1 - usual)


class RateDrift:
    """Events that become much more frequent: a likelihood ratio against the rate of the baseline.

    `least_run` events in a row are the fewest that raise an alarm, however rare they were.
    """

    LEAST, MOST = 0.02, 0.9

    def __init__(self, least_run: int = 10) -> None:
        self.usual = 0.0
        self._most_gained = ALARM / (least_run - 0.5)
        self._baseline = Baseline()
        self._evidence = Evidence()

    def push(self, event: bool, weight: float = 1.0) -> bool:
        alarms = False
        if self._baseline.is_warm:
            self.usual = self._baseline.total / len(self._baseline.values)
            usual = min(self.MOST, max(self.LEAST, self.usual))
            gained = min(self._most_gained, log_ratio(event, usual, raised(usual)))
            alarms = self._evidence.add(weight * gained)
        self._baseline.push(event)
        if alarms:
            self._baseline = Baseline()
        return alarms
