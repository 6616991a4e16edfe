"""Mixed traffic: all levers on against all off, and against each lever switched off in turn.

Every round has new traffic, the same for all sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bench.bounds import mean, ratio_of_means
from bench.economics.policies import POINTS, held
from bench.host import side
from bench.result import Measure
from bench.runner import Run
from bench.tiers.part import Part
from bench.tiers.sides import ALL, NONE, SWITCHED, Round, Sides, play_in_turns
from bench.tiers.traffic import MIXED, digest, shares, traffic

TARGET, MOST_LOST = 3.0, 1.0
ON, OFF = "on", "off"
SEED = 0
"""Rounds of this part have the seeds from here on."""


@dataclass(frozen=True)
class Effort:
    rounds: int
    requests: int
    switched: tuple[str, ...]


FULL = Effort(rounds=6, requests=600, switched=SWITCHED)
QUICK = Effort(rounds=2, requests=60, switched=())
Rounds = Mapping[str, Sequence[Round]]


def measure(run: Run, sides: Sides) -> Part:
    effort = run.effort(FULL, QUICK)
    compared = {ON: ALL, OFF: NONE} | {lever: ALL.without(lever) for lever in effort.switched}
    addresses = dict(zip(compared, sides.of(*compared.values()), strict=True))
    drawn = [traffic(MIXED, effort.requests, 1000 * run.seed + SEED + turn) for turn in range(effort.rounds)]
    rounds = play_in_turns(addresses, drawn, run)
    together = [request for requests in drawn for request in requests]
    drawn_shares = shares(together)
    facts = asdict(effort) | {"mix": asdict(MIXED), "drawn": drawn_shares, "digest": digest(together)}
    return Part(
        measures(rounds, run.seed),
        {"mixed": facts},
        {f"mixed, {label(name)}": figures(rounds[name]) for name in rounds},
        [f"mixed traffic: {asdict(MIXED)}, drawn as {drawn_shares}", *table(rounds)],
    )


def measures(rounds: Rounds, seed: int) -> dict[str, Measure]:
    """All on against all off, and against each lever off."""
    taken = {
        "requests_vs_large": speedup(rounds, ON, OFF, seed, TARGET),
        "loss": lost(rounds[OFF], rounds[ON], seed),
    }
    return taken | {f"vs_no_{lever}": speedup(rounds, ON, lever, seed) for lever in SWITCHED}


def speedup(rounds: Rounds, name: str, base: str, seed: int, target: float | None = None) -> Measure:
    """Requests a second of a side against another; owed where the other was not played."""
    other = [each.per_s for each in rounds.get(base, ())]
    own = [each.per_s for each in rounds[name]] if other else []
    return Measure.ratio(own, other, seed, target, statistic=ratio_of_means)


def lost(base: Sequence[Round], other: Sequence[Round], seed: int) -> Measure:
    """Points that `other` loses against `base`, paired. The target applies to the worse bound."""
    first, second = (
        np.concatenate([each.right for each in rounds]).astype(float) for rounds in (base, other)
    )
    return held("points", mean(POINTS * (first - second), seed), MOST_LOST)


def figures(rounds: Sequence[Round]) -> dict[str, object]:
    """What a side's measures are made of; `answered_by` are the shares of the tiers."""
    answered = Counter(path[-1] for each in rounds for path in each.paths)
    return side(
        "fovea",
        requests_per_s=round(float(np.mean([each.per_s for each in rounds])), 2),
        accuracy=round(float(np.mean([each.right for each in rounds])), 4),
        answered_by={tier: round(count / answered.total(), 3) for tier, count in sorted(answered.items())},
    )


def label(name: str) -> str:
    return {ON: "all on", OFF: "large only"}.get(name, f"no {name}")


def table(rounds: Rounds) -> list[str]:
    """A line for each side."""
    columns = ("requests_per_s", "accuracy", "answered_by")
    rows = [("side", *columns)]
    for name, played in rounds.items():
        cells = figures(played)
        rows.append((label(name), *(str(cells[column]) for column in columns)))
    return [f"{row[0]:<14}{row[1]:>16}{row[2]:>12}  {row[3]}" for row in rows]
