"""From right and wrong answers to shares with bounds, by kind and by tier, and to paired losses.

Every question of a kind has its own picture, so the bounds of a kind are those of independent answers. The
kinds of a tier share pictures, and questions about the same picture have the same row: rows are resampled,
which keeps pairing and sharing. Independent of services.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.bounds import Bounded, Floats, chance_of_at_least, difference_of_shares, mean, share
from bench.evaluation.asking import Bools
from bench.evaluation.sheets import VIEWS
from bench.result import Measure
from standin.dataset import COARSE, KINDS
from standin.questions import CHANCE, FINE

TIERS = {"coarse": COARSE, "fine": tuple(kind for kind in KINDS if kind in FINE)}
FAMILY_ERROR = 0.05


@dataclass(frozen=True)
class Score:
    """Shares of right answers with bounds; `lost` is native minus half, question by question."""

    name: str
    tier: str
    n: int
    views: Mapping[str, Bounded]
    lost: Bounded
    chance: float

    @property
    def guesses(self) -> bool:
        """Whether answers about a blank image are no better than guesses (exact binomial, see `alarms`)."""
        right = round(self.views["blank"].value * self.n)
        return chance_of_at_least(right, self.n, self.chance) >= FAMILY_ERROR / len(KINDS)


Right = Mapping[str, Bools]
"""By view or policy, (kinds, rows)."""


def accuracy(right: Right, name: str, kinds: Sequence[str] = KINDS, seed: int = 0) -> Bounded:
    """The share of right answers; all kinds have equal weight."""
    shares = _shares(right, name, kinds)
    return replace(mean(shares, seed), n=len(kinds) * len(shares))


def loss(right: Right, base: str, other: str, kinds: Sequence[str] = KINDS, seed: int = 0) -> Bounded:
    """The share that `other` loses against `base`, question by question; negative where it gains."""
    lost = _shares(right, base, kinds) - _shares(right, other, kinds)
    return replace(mean(lost, seed), n=len(kinds) * len(lost))


def _shares(right: Right, name: str, kinds: Sequence[str]) -> Floats:
    """The share of right answers, by row."""
    places = [KINDS.index(kind) for kind in kinds]
    return np.asarray(right[name][places].astype(np.float64).mean(axis=0))


def by_kind(right: Right) -> Sequence[Score]:
    """A score for every kind, coarse kinds first."""
    return [_kind(kind, tier, right) for tier, kinds in TIERS.items() for kind in kinds]


def by_tier(right: Right, seed: int) -> Sequence[Score]:
    """The mean over the kinds of a tier, with equal weights."""
    scores = []
    for tier, kinds in TIERS.items():
        views = {view: accuracy(right, view, kinds, seed) for view in VIEWS}
        lost = loss(right, "native", "half", kinds, seed)
        chance = float(np.mean([CHANCE[kind] for kind in kinds]))
        scores.append(Score(tier, tier, lost.n, views, lost, chance))
    return scores


def _kind(kind: str, tier: str, right: Right) -> Score:
    answers = {view: right[view][KINDS.index(kind)] for view in VIEWS}
    native, half, n = answers["native"], answers["half"], answers["native"].size
    gained, lost = int((native & ~half).sum()), int((half & ~native).sum())
    views = {view: share(int(values.sum()), n) for view, values in answers.items()}
    return Score(kind, tier, n, views, difference_of_shares(gained, lost, n), CHANCE[kind])


def alarms(kinds: Sequence[Score]) -> Sequence[str]:
    """Kinds for which answers about a blank image are better than guesses.

    Chance is the share of the best constant answer. At most 5 % of runs raise any false alarm (Bonferroni).
    """
    return [score.name for score in kinds if not score.guesses]


def measures(right: Right, seed: int) -> dict[str, Measure]:
    """The promised measures, by name."""
    wrong = len(alarms(by_kind(right)))
    coarse, fine = by_tier(right, seed)
    return {
        "coarse_native": Measure.of("share", coarse.views["native"], 0.97),
        "fine_native": Measure.of("share", fine.views["native"], 0.90),
        "coarse_drop_half": Measure.of("share", coarse.lost),
        "fine_drop_half": Measure.of("share", fine.lost, 0.10),
        "coarse_blank": Measure.of("share", coarse.views["blank"]),
        "fine_blank": Measure.of("share", fine.views["blank"]),
        "blank_above_chance": Measure("kinds", wrong, right["blank"].size, target=0, sense="at most"),
    }
