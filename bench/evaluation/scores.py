"""From right and wrong to shares with bounds, by kind and by tier.

Every question of a kind has a picture of its own, so the bounds of a kind are those of independent answers.
The kinds of a tier share pictures, and such questions stand in one row: rows are resampled, so that neither
pairing nor sharing is lost. Knows no service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.bounds import Bounded, chance_of_at_least, difference_of_shares, mean, share
from bench.evaluation.sheets import VIEWS
from bench.result import Measure
from standin.dataset import COARSE, KINDS
from standin.questions import CHANCE

TIERS = ("coarse", "fine")
FAMILY_ERROR = 0.05

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """Shares of right answers with bounds; `lost` is native less half, question by question."""

    name: str
    tier: str
    n: int
    views: Mapping[str, Bounded]
    lost: Bounded
    chance: float

    @property
    def guesses(self) -> bool:
        """Whether a blank image leaves no more than guessing (one-sided exact binomial, see `alarms`)."""
        right = round(self.views["blank"].value * self.n)
        return chance_of_at_least(right, self.n, self.chance) >= FAMILY_ERROR / len(KINDS)


def tier_of(kind: str) -> str:
    return "coarse" if kind in COARSE else "fine"


def by_kind(right: Mapping[str, Bools]) -> Sequence[Score]:
    """A score for every kind, coarse ones first."""
    scores = [_kind(kind, {view: right[view][place] for view in VIEWS}) for place, kind in enumerate(KINDS)]
    return sorted(scores, key=lambda score: TIERS.index(score.tier))


def by_tier(right: Mapping[str, Bools], seed: int) -> Sequence[Score]:
    """The mean over the kinds of a tier, each kind counting alike."""
    return [_tier(tier, right, seed) for tier in TIERS]


def _kind(kind: str, right: Mapping[str, Bools]) -> Score:
    native, half, n = right["native"], right["half"], right["native"].size
    gained, lost = int((native & ~half).sum()), int((half & ~native).sum())
    views = {view: share(int(right[view].sum()), n) for view in VIEWS}
    return Score(kind, tier_of(kind), n, views, difference_of_shares(gained, lost, n), CHANCE[kind])


def _tier(tier: str, right: Mapping[str, Bools], seed: int) -> Score:
    places = [place for place, kind in enumerate(KINDS) if tier_of(kind) == tier]
    shares = {view: right[view][places].mean(axis=0) for view in VIEWS}
    return Score(
        tier,
        tier,
        right["native"][places].size,
        {view: mean(values, seed) for view, values in shares.items()},
        mean(shares["native"] - shares["half"], seed),
        float(np.mean([CHANCE[KINDS[place]] for place in places])),
    )


def alarms(kinds: Sequence[Score]) -> Sequence[str]:
    """Kinds that a blank image answers better than guessing would.

    Chance is what the best constant answer gets. All kinds together raise a false alarm in at most 5 % of
    runs (Bonferroni).
    """
    return [score.name for score in kinds if not score.guesses]


def measures(right: Mapping[str, Bools], seed: int) -> dict[str, Measure]:
    """The figures that are promised, by name."""
    kinds = by_kind(right)
    coarse, fine = by_tier(right, seed)
    return {
        "coarse_native": _measure(coarse, lambda score: score.views["native"], 0.97),
        "fine_native": _measure(fine, lambda score: score.views["native"], 0.90),
        "coarse_drop_half": _measure(coarse, lambda score: score.lost),
        "fine_drop_half": _measure(fine, lambda score: score.lost, 0.10),
        "coarse_blank": _measure(coarse, lambda score: score.views["blank"]),
        "fine_blank": _measure(fine, lambda score: score.views["blank"]),
        "blank_above_chance": Measure(
            "kinds", len(alarms(kinds)), right["blank"].size, target=0, sense="at most"
        ),
    }


def _measure(score: Score, figure: Callable[[Score], Bounded], target: float | None = None) -> Measure:
    found = figure(score)
    return Measure("share", found.value, score.n, found.lower, found.upper, target)
