"""The compared policies, their paired losses, and the measures of `bench.economy`.

A policy is a named budget together with the view that the client sends. Every policy gets the same questions
about the same pictures. Losses are in points. Targets apply to their bounds, not to their means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.bounds import Bounded, ratio_of_means
from bench.evaluation import scores
from bench.evaluation.asking import Outcomes, Policy
from bench.evaluation.scores import TIERS
from bench.evaluation.sheets import UPLOADED as UPLOADED_VIEW
from bench.result import Measure, Sense
from fovea.client import Budget
from standin.dataset import KINDS

EVERYTHING = 16_777_216
"""The checkpoint's own limit: no picture here is larger."""

REDUCERS = ("scope", "divprune", "stride", "random", "resize")
DEFAULT_REDUCER = "scope"
"""The reducer of the server's modes, which represent it in the tables."""
RATIOS = {"economy": 0.75, "strong": 0.5}
TOLERANCE = 8


def _budget(detail: str = "high", **fields: object) -> Budget:
    return Budget(max_pixels=EVERYTHING, detail=detail, **fields)  # type: ignore[arg-type]


OFF = Policy("off", _budget(reduction="off"))
FLAT = Policy("flat", _budget(reduction="off", flat_tolerance=0))
FLAT_NEAR = Policy("flat near", _budget(reduction="off", flat_tolerance=TOLERANCE))
GAIN = Policy("auto", _budget(reduction="auto", reducer="scope"))
DEFAULTS = tuple(Policy(mode, _budget(reduction=mode)) for mode in RATIOS)
"""The modes with the reducer that the server uses by default."""
REDUCED = tuple(
    Policy(f"{reducer} {keep:g}", _budget(keep=keep, reducer=reducer))
    for keep in RATIOS.values()
    for reducer in REDUCERS
    if reducer != DEFAULT_REDUCER
)
NATIVE = Policy("native", _budget(reduction="off"), UPLOADED_VIEW)
AUTO = Policy("detail auto", _budget("auto"), UPLOADED_VIEW)
AUTO_FLAT = Policy("detail auto, flat", _budget("auto", flat_tolerance=0), UPLOADED_VIEW)

CONTROLLED = tuple(Policy(f"control {policy.name}", policy.budget) for policy in (OFF, FLAT, *DEFAULTS))
"""For a stand-in that was never trained with rows or patches left out."""

DRAWN = (OFF, FLAT, FLAT_NEAR, GAIN, *DEFAULTS, *REDUCED)
UPLOADED = (NATIVE, AUTO, AUTO_FLAT)


def reduced(reducer: str, mode: str) -> str:
    """The name of the policy that keeps as much as `mode`, selected by `reducer`."""
    return mode if reducer == DEFAULT_REDUCER else f"{reducer} {RATIOS[mode]:g}"


FLAT_KINDS = tuple(kind for kind in KINDS if kind.split("_")[0] in ("bar", "line", "pie", "table", "page"))
"""Questions about charts, tables and pages. Questions about titles and kinds of picture also cover scenes."""
POINTS = 100.0


def loss(outcomes: Outcomes, base: str, other: str, kinds: Sequence[str] = KINDS, seed: int = 0) -> Bounded:
    """Points that `other` loses against `base`; negative where it gains. All kinds have equal weight."""
    return scores.loss(outcomes.right, base, other, kinds, seed).scaled(POINTS)


def accuracy(outcomes: Outcomes, policy: str, kinds: Sequence[str] = KINDS, seed: int = 0) -> Bounded:
    """Percent of right answers; all kinds have equal weight."""
    return scores.accuracy(outcomes.right, policy, kinds, seed).scaled(POINTS)


def saved(outcomes: Outcomes, base: str, other: str, seed: int = 0) -> Bounded:
    """The share of visual tokens that `other` saves against `base`, over all questions."""
    spent, naive = (outcomes.tokens[name].sum(axis=0) for name in (other, base))
    return replace(share_saved(ratio_of_means(spent, naive, seed)), n=len(KINDS) * outcomes.per_kind)


def share_saved(ratio: Bounded) -> Bounded:
    """1 minus a ratio."""
    return Bounded(1 - ratio.value, 1 - ratio.upper, 1 - ratio.lower, ratio.n)


def held(unit: str, figure: Bounded, target: float, sense: Sense = "at most") -> Measure:
    """A measure whose value is the worse bound, so that the target applies to the bound."""
    worse = figure.upper if sense == "at most" else figure.lower
    return Measure.of(unit, replace(figure, value=worse), target, sense)


def measures(outcomes: Outcomes, seed: int) -> dict[str, Measure]:
    """What is promised of `detail=auto`, of flat patches and of reduction."""

    def points(base: str, other: str, kinds: Sequence[str] = KINDS) -> Bounded:
        return loss(outcomes, base, other, kinds, seed)

    taken = {
        "auto_saved": held("share", saved(outcomes, NATIVE.name, AUTO.name, seed), 0.5, "at least"),
        "auto_loss": held("points", points(NATIVE.name, AUTO.name), 1.0),
        "auto_loss_fine": held("points", points(NATIVE.name, AUTO.name, TIERS["fine"]), 1.5),
        "auto_loss_drawn": Measure.of("points", points(OFF.name, AUTO.name)),
        "flat_loss": held("points", points(OFF.name, FLAT.name, FLAT_KINDS), 0.5),
        "economy_loss": held("points", points(OFF.name, "economy"), 1.0),
        "strong_loss": held("points", points(OFF.name, "strong"), 3.0),
    }
    for peer in ("random", "stride"):
        taken[f"vs_{peer}"] = held("points", _least_gain(outcomes, peer, seed), 0.0, "at least")
    return taken | {"vs_resize": Measure.of("points", _least_gain(outcomes, "resize", seed))}


def _least_gain(outcomes: Outcomes, peer: str, seed: int) -> Bounded:
    """Points that the default reducer gains over a peer, at the ratio where it gains least."""
    gains = [loss(outcomes, mode, reduced(peer, mode), KINDS, seed) for mode in RATIOS]
    return min(gains, key=lambda gain: gain.lower)
