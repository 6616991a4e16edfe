"""From right and wrong under several policies to paired losses with bounds, and to the measures that are
promised.

A loss is what one policy got right less what another did, question by question. Rows of questions share
pictures, so rows are resampled. It is the bound that is held to a target and not the mean. Knows no service.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.bounds import Bounded, bootstrap, mean
from bench.economics.asking import Outcomes
from bench.economics.policies import AUTO, FLAT, NATIVE, OFF, RATIOS, reduced
from bench.evaluation.scores import tier_of
from bench.result import Measure, Sense
from standin.dataset import KINDS

FLAT_KINDS = tuple(kind for kind in KINDS if kind.split("_")[0] in ("bar", "line", "pie", "table", "page"))
"""Questions about charts, tables and pages; titles and kinds of picture are asked about scenes too."""
FINE = tuple(kind for kind in KINDS if tier_of(kind) == "fine")
POINTS = 100.0


def loss(outcomes: Outcomes, base: str, other: str, kinds: Sequence[str] = KINDS, seed: int = 0) -> Bounded:
    """Points that `other` loses against `base`; negative where it gains. Each kind counts alike."""
    places = [KINDS.index(kind) for kind in kinds]
    right = [outcomes.right[name][places].astype(np.float64).mean(axis=0) for name in (base, other)]
    found = mean(POINTS * (right[0] - right[1]), seed)
    return Bounded(found.value, found.lower, found.upper, len(places) * outcomes.per_kind)


def accuracy(outcomes: Outcomes, policy: str, kinds: Sequence[str] = KINDS, seed: int = 0) -> Bounded:
    """Percent of right answers, each kind alike."""
    places = [KINDS.index(kind) for kind in kinds]
    found = mean(POINTS * outcomes.right[policy][places].astype(np.float64).mean(axis=0), seed)
    return Bounded(found.value, found.lower, found.upper, len(places) * outcomes.per_kind)


def saved(outcomes: Outcomes, base: str, other: str, seed: int = 0) -> Bounded:
    """The share of visual tokens that `other` spends less than `base`, over all questions."""
    both = np.stack([outcomes.tokens[name].sum(axis=0).astype(np.float64) for name in (base, other)], axis=1)
    found = bootstrap(both, lambda drawn: 1 - drawn[..., 1].sum(axis=1) / drawn[..., 0].sum(axis=1), seed)
    return Bounded(found.value, found.lower, found.upper, len(KINDS) * outcomes.per_kind)


def held(unit: str, found: Bounded, target: float, sense: Sense = "at most") -> Measure:
    """The worse bound stands as the value, so that it is what the target is held against."""
    worse = found.upper if sense == "at most" else found.lower
    return Measure(unit, worse, found.n, found.lower, found.upper, target, sense)


def measures(outcomes: Outcomes, seed: int) -> dict[str, Measure]:
    """What is promised of `detail=auto`, flat squares and reduction."""

    def of(base: str, other: str, kinds: Sequence[str] = KINDS) -> Bounded:
        return loss(outcomes, base, other, kinds, seed)

    found = {
        "auto_saved": held("share", saved(outcomes, NATIVE.name, AUTO.name, seed), 0.5, "at least"),
        "auto_loss": held("points", of(NATIVE.name, AUTO.name), 1.0),
        "auto_loss_fine": held("points", of(NATIVE.name, AUTO.name, FINE), 1.5),
        "auto_loss_drawn": Measure.of("points", of(OFF.name, AUTO.name)),
        "flat_loss": held("points", of(OFF.name, FLAT.name, FLAT_KINDS), 0.5),
        "economy_loss": held("points", of(OFF.name, "economy"), 1.0),
        "strong_loss": held("points", of(OFF.name, "strong"), 3.0),
    }
    for peer in ("random", "stride", "resize"):
        target = None if peer == "resize" else 0.0
        found[f"vs_{peer}"] = _against(outcomes, peer, target, seed)
    return found


def _against(outcomes: Outcomes, peer: str, target: float | None, seed: int) -> Measure:
    """Points by which the default is better than a peer, at the ratio where it is least so."""
    gains = [loss(outcomes, mode, reduced(peer, mode), KINDS, seed) for mode in RATIOS]
    least = min(gains, key=lambda gain: gain.lower)
    if target is None:
        return Measure.of("points", least)
    return held("points", least, target, "at least")
