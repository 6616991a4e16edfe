"""The model cascade alone: small to large, without caches and other tiers, on traffic without repeats.

A small tier of relative cost c in front of a large one, from which a share p escalates, costs c + p of the
large model alone. That bounds the speedup by 1 / (c + p); `ceiling` is how much of the bound the cascade
reaches. The cost c is measured with the small model alone, in a decoder of its own; p is counted on receipts.
The same rounds show whether the calibrated threshold keeps its promise on questions that it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bench.bounds import Bounded, Floats, bootstrap, share
from bench.economics.policies import POINTS
from bench.result import Measure
from bench.runner import Run
from bench.tiers.mixed import figures, lost, speedup
from bench.tiers.part import Part
from bench.tiers.sides import BOTH, LARGE, NONE, SMALL, Levers, Round, Sides, play_in_turns
from bench.tiers.traffic import CASCADE, digest, shares, traffic

CEILING, MOST_ESCALATED, MOST_MISSED = 0.85, 0.7, 1.0
ALONE = Levers(False, (SMALL,))
SEED = 100
"""Rounds of this part have the seeds from here on."""


@dataclass(frozen=True)
class Effort:
    rounds: int
    requests: int


FULL = Effort(rounds=6, requests=500)
QUICK = Effort(rounds=2, requests=60)
Rounds = Mapping[str, Sequence[Round]]


def measure(run: Run, sides: Sides, wanted: float) -> Part:
    effort = run.effort(FULL, QUICK)
    compared = {LARGE: NONE, SMALL: ALONE, "cascade": BOTH}
    addresses = dict(zip(compared, sides.of(*compared.values()), strict=True))
    drawn = [
        traffic(CASCADE, effort.requests, 1000 * run.seed + SEED + turn) for turn in range(effort.rounds)
    ]
    rounds = play_in_turns(addresses, drawn, run)
    together = [request for requests in drawn for request in requests]
    facts = asdict(effort) | {"mix": asdict(CASCADE), "drawn": shares(together), "digest": digest(together)}
    return Part(
        measures(rounds, run.seed) | kept(rounds, wanted, run.seed),
        {"cascade": facts | {"wanted": wanted}},
        {f"cascade, {name}": figures(played) for name, played in rounds.items()},
        [f"cascade traffic: {asdict(CASCADE)}, drawn as {shares(together)}"],
    )


def measures(rounds: Rounds, seed: int) -> dict[str, Measure]:
    """`cost` is c, `escalated` is p."""
    return {
        "ceiling": Measure.of("ratio", _of_ceiling(rounds, seed), CEILING),
        "cascade_loss": lost(rounds[LARGE], rounds["cascade"], seed),
        "cost": speedup(rounds, LARGE, SMALL, seed),
        "cascade_vs_large": speedup(rounds, "cascade", LARGE, seed),
        "escalated": Measure.of(
            "share", share(int(escalated(rounds).sum()), len(escalated(rounds))), MOST_ESCALATED, "at most"
        ),
    }


def _of_ceiling(rounds: Rounds, seed: int) -> Bounded:
    """Speedup times (c + p), by rounds: what was played in the same round is drawn together."""
    rates = [[each.per_s for each in rounds[name]] for name in (LARGE, SMALL, "cascade")]
    shares_escalated = [float(each.reached(LARGE).mean()) for each in rounds["cascade"]]

    def of_ceiling(drawn: Floats) -> Floats:
        large, small, cascade, p = np.moveaxis(drawn.mean(axis=1), -1, 0)
        return np.asarray(cascade / large * (large / small + p))

    return bootstrap(np.stack([*map(np.array, rates), np.array(shares_escalated)], axis=1), of_ceiling, seed)


def kept(rounds: Rounds, wanted: float, seed: int) -> dict[str, Measure]:
    """Points by which the kept answers miss the wanted accuracy, relative to the large model's on the same
    questions; negative where they exceed it.
    """
    keeps = ~escalated(rounds)
    right, reference = (
        np.concatenate([each.right for each in rounds[name]])[keeps] for name in ("cascade", LARGE)
    )
    if keeps.sum() < 2:
        return {"calibration_error": Measure("points", None, target=MOST_MISSED, sense="at most")}
    pairs = np.stack([right, reference], axis=1).astype(float)

    def missed(drawn: Floats) -> Floats:
        small, large = np.moveaxis(drawn.mean(axis=1), -1, 0)
        return np.asarray(POINTS * (wanted - small / large))

    return {"calibration_error": Measure.of("points", bootstrap(pairs, missed, seed), MOST_MISSED, "at most")}


def escalated(rounds: Rounds) -> np.ndarray:
    return np.concatenate([each.reached(LARGE) for each in rounds["cascade"]])
