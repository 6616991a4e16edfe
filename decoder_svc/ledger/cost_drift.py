"""Tests whether the images of a tenant cost much more visual tokens than is usual.

An image is dearer if it costs more than DEARER times what is usual. Evidence is the likelihood ratio of that
event, see `decoder_svc.ledger.drift`.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

from decoder_svc.ledger.drift import BASELINE, REPEATED, Baseline, Evidence, log_ratio, raised, rate
from decoder_svc.ledger.known_images import NEAR, Sight

FACTOR = 5.0
"""The rise that is sought."""
DEARER = math.sqrt(FACTOR)
HALF = math.log(DEARER)
"""Half the rise, in logarithms."""
RECENT = 24
"""Requests within which an image that costs the same is asked about again rather than sent again."""
REFRESH = 16
"""Values between two estimates of a level."""


@dataclass(frozen=True)
class Cost:
    """The visual tokens of an image, and those that it had last; None for a new image."""

    kind: str
    tokens: int
    before: Sight | None = None

    @property
    def is_asked_again(self) -> bool:
        """Whether a known image says nothing new."""
        return self.before is not None and self.before.age <= RECENT and self.tokens == self.before.tokens


class Judged(NamedTuple):
    """A cost, what is usual, and the evidence for a rise."""

    cost: Cost
    usual: float
    evidence: float


@dataclass(frozen=True)
class Rise:
    """A change that raised an alarm, by the image that shows it most."""

    kind: str
    usual: float
    tokens: int


class CostDrift:
    """Images of which many cost FACTOR times what is usual.

    A known image is compared with itself, a new image with the new images of its kind. Evidence adds up
    within a kind, and over all kinds; the images of a request count as a single image, because a caller
    chooses their detail together. At least three requests raise an alarm.
    """

    def __init__(self) -> None:
        self._levels: defaultdict[str, NewCosts] = defaultdict(NewCosts)
        self._known = KnownCosts()
        self._evidence: defaultdict[str, Evidence] = defaultdict(Evidence)
        self._of_all = Evidence()
        self._since_alarm = math.inf

    def push(self, costs: Sequence[Cost]) -> Rise | None:
        """The costs of a request's images; the rise if they raise an alarm."""
        self._since_alarm += 1
        judged = [*self._judge_known(costs), *self._judge_new(costs)]
        if not judged:
            return None
        alarming = self._add(judged)
        rises = [
            Rise(cost.kind, usual, cost.tokens)
            for cost, usual, evidence in judged
            if evidence > 0 and cost.kind in alarming
        ]
        return max(rises, key=lambda rise: rise.tokens / rise.usual, default=None)

    def _judge_known(self, costs: Sequence[Cost]) -> list[Judged]:
        """What an image cost before the last alarm says nothing."""
        known = [
            (cost, cost.before.tokens)
            for cost in costs
            if cost.before and cost.before.age <= self._since_alarm and not cost.is_asked_again
        ]
        evidence = self._known.push([cost.tokens > DEARER * before for cost, before in known])
        return [Judged(cost, before, each) for (cost, before), each in zip(known, evidence, strict=True)]

    def _judge_new(self, costs: Sequence[Cost]) -> Iterator[Judged]:
        for cost in costs:
            if cost.before is None:
                level = self._levels[cost.kind]
                evidence = level.push(cost.tokens)
                if evidence is not None:
                    yield Judged(cost, level.usual, evidence)

    def _add(self, judged: Sequence[Judged]) -> set[str]:
        """The kinds with an alarm."""
        gained: defaultdict[str, list[float]] = defaultdict(list)
        for cost, _, evidence in judged:
            gained[cost.kind].append(evidence)
        alarming = {kind for kind, each in gained.items() if self._evidence[kind].add(fmean(each))}
        if self._of_all.add(fmean(each.evidence for each in judged)):
            self._levels.clear()
            self._evidence.clear()
            alarming = set(gained)
        for kind in alarming:
            self._levels.pop(kind, None)
            self._of_all.total, self._since_alarm = 0.0, 0
        return alarming


class NewCosts:
    """What new images of a kind cost: the median of logarithms, and the shares above it and below it.

    If all costs rose by FACTOR, as many would lie above half the rise as now lie above its negative.
    """

    LEAST = 0.05
    """A share of images that may cost anything. Bounds what an image can say."""

    def __init__(self) -> None:
        self._baseline = Baseline()
        self._median = 0.0
        self._usual = self._anomalous = 0.5
        self._count = 0
        self._last = math.inf

    @property
    def usual(self) -> float:
        return math.exp(self._median)

    def push(self, tokens: int) -> float | None:
        """The evidence of a new image; None while too few are known."""
        logarithm, evidence = math.log(max(tokens, 1)), None
        if self._baseline.is_warm:
            if self._count % REFRESH == 0:
                self._estimate()
            self._count += 1
            evidence = log_ratio(logarithm > self._median + HALF, self._usual, self._anomalous)
            evidence *= REPEATED if abs(logarithm - self._last) < NEAR else 1.0
        self._last = logarithm
        self._baseline.push(logarithm)
        return evidence

    def _estimate(self) -> None:
        values = self._baseline.values
        self._median = median(values)
        self._usual = self._share_above(HALF)
        self._anomalous = self._share_above(-HALF)

    def _share_above(self, offset: float) -> float:
        values = self._baseline.values
        above = sum(value > self._median + offset for value in values)
        return min(1 - self.LEAST, max(self.LEAST, rate(above, len(values))))


class KnownCosts:
    """How often images that were sent before cost much more than they did."""

    LEAST = 0.01
    """Two images raise no alarm, however rarely this happens."""

    def __init__(self) -> None:
        self._shares: deque[float] = deque(maxlen=BASELINE)

    def push(self, are_dearer: Sequence[bool]) -> list[float]:
        """The evidence of a request's images. Few known images say little, so this needs no warm-up."""
        if not are_dearer:
            return []
        usual = max(self.LEAST, rate(sum(self._shares), len(self._shares)))
        self._shares.append(fmean(are_dearer))
        return [log_ratio(is_dearer, usual, raised(usual)) for is_dearer in are_dearer]
