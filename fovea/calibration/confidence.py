"""The probability that an answer is right, from the log-probabilities of its tokens.

A model's own probability of its answer ranks answers well, and is overconfident. Labelled answers scale it
(Platt scaling): a logistic function of its log-odds, with a slope and an intercept for each type of answer.
A type with few labels stays near the scale of all types; nothing is known of a type with hardly any, so that
its answers have no confidence. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fovea.calibration.answers import AnswerType

LONG = (AnswerType.STRUCTURED, AnswerType.TEXT)
"""Types whose length varies: of them the mean log-probability counts, of the others the sum."""

MOST_ODDS = 14.0
"""Largest log-odds: above it, fp32 log-probabilities no longer differ."""
LEAST_ODDS = -50.0
"""Smallest log-odds. A format may force tokens that the model itself finds improbable."""
RIDGE = 1.0
"""Precision of the prior. A type needs several labels to leave the scale of all types."""
LEAST_LABELS = 20
"""Labels of a type from which on it has a scale."""
STEPS = 100
LARGEST_STEP = 1.0


@dataclass(frozen=True)
class Scale:
    """From log-odds to calibrated log-odds."""

    slope: float = 1.0
    intercept: float = 0.0

    def confidence(self, odds: float) -> float:
        return _logistic(self.slope * odds + self.intercept)


@dataclass(frozen=True)
class Labelled:
    """An answer with its label: its type, its log-odds, and whether it is right."""

    kind: AnswerType
    odds: float
    right: bool


def log_odds(logprobs: Sequence[float], kind: AnswerType) -> float:
    """The log-odds that the model gives its own answer. The least for an answer without tokens."""
    if not logprobs:
        return LEAST_ODDS
    total = math.fsum(logprobs)
    if kind in LONG:
        total /= len(logprobs)
    if total >= 0:
        return MOST_ODDS
    odds = total - math.log(-math.expm1(total))  # log(p) - log(1 - p)
    return min(MOST_ODDS, max(LEAST_ODDS, odds)) if math.isfinite(odds) else LEAST_ODDS


def fit_scales(labelled: Sequence[Labelled]) -> dict[AnswerType, Scale]:
    """A scale for every type with LEAST_LABELS labels."""
    common = _fit(labelled, Scale())
    by_kind = {kind: [each for each in labelled if each.kind is kind] for kind in AnswerType}
    return {kind: _fit(each, common) for kind, each in by_kind.items() if len(each) >= LEAST_LABELS}


def confidence(scales: Mapping[AnswerType, Scale], logprobs: Sequence[float], kind: AnswerType) -> float:
    """The calibrated probability that an answer is right; 0 for a type without a scale."""
    scale = scales.get(kind)
    return scale.confidence(log_odds(logprobs, kind)) if scale else 0.0


def _fit(labelled: Sequence[Labelled], prior: Scale) -> Scale:
    """Logistic regression by Newton's method, with a Gaussian prior around `prior`."""
    slope, intercept = prior.slope, prior.intercept
    for _ in range(STEPS):
        by_slope, by_intercept = RIDGE * (prior.slope - slope), RIDGE * (prior.intercept - intercept)
        curve_ss, curve_ii, curve_si = RIDGE, RIDGE, 0.0
        for each in labelled:
            expected = _logistic(slope * each.odds + intercept)
            weight, miss = expected * (1 - expected), each.right - expected
            by_slope += miss * each.odds
            by_intercept += miss
            curve_ss += weight * each.odds**2
            curve_ii += weight
            curve_si += weight * each.odds
        determinant = curve_ss * curve_ii - curve_si**2
        step_s = _limited((curve_ii * by_slope - curve_si * by_intercept) / determinant)
        step_i = _limited((curve_ss * by_intercept - curve_si * by_slope) / determinant)
        slope, intercept = slope + step_s, intercept + step_i
        if max(abs(step_s), abs(step_i)) < 1e-9:
            break
    if slope >= 0:
        return Scale(slope, intercept)
    return Scale(0.0, _common_odds(labelled))  # a more probable answer is never less credible


def _common_odds(labelled: Sequence[Labelled]) -> float:
    right = sum(each.right for each in labelled)
    return math.log((right + 1) / (len(labelled) - right + 1))


def _limited(step: float) -> float:
    return min(LARGEST_STEP, max(-LARGEST_STEP, step))


def _logistic(odds: float) -> float:
    if odds >= 0:
        return 1 / (1 + math.exp(-odds))
    return math.exp(odds) / (1 + math.exp(odds))
