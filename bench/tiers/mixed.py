"""Mixed traffic: all levers on against all off, and against each lever switched off in turn.

Every round has new traffic, the same for all sides; the sides take turns and alternate their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.bounds import mean, ratio_of_means
from bench.economics.policies import POINTS, held
from bench.host import side
from bench.result import Measure
from bench.runner import Run
from bench.tiers import sides
from bench.tiers.part import Part
from bench.tiers.sides import ALL, NAMES, NONE, Levers, Round
from bench.tiers.traffic import MIXED, digest, shares, traffic

TARGET, MOST_LOST = 3.0, 1.0
ON, OFF = "on", "off"


@dataclass(frozen=True)
class Effort:
    rounds: int
    requests: int
    levers: bool


FULL = Effort(rounds=6, requests=600, levers=True)
QUICK = Effort(rounds=2, requests=60, levers=False)
Rounds = Mapping[str, Sequence[Round]]


def measure(run: Run, calibration: Path) -> Part:
    effort = run.effort(FULL, QUICK)
    compared = {ON: ALL, OFF: NONE}
    if effort.levers:
        compared |= {lever: ALL.without(lever) for lever in NAMES}
    drawn = [traffic(MIXED, effort.requests, 1000 * run.seed + turn) for turn in range(effort.rounds)]
    addresses = _start(run, compared, calibration)
    rounds: dict[str, list[Round]] = {name: [] for name in compared}
    for turn, requests in enumerate(drawn):
        for name in list(compared)[:: 1 if turn % 2 else -1]:
            run.status(f"mixed traffic, round {turn + 1} of {effort.rounds}: {name}")
            rounds[name].append(sides.play(addresses[name], requests))
    together = [request for requests in drawn for request in requests]
    return Part(
        measures(rounds, run.seed),
        {"mixed": {**asdict(effort), "mix": asdict(MIXED), "drawn": shares(together), "digest": digest(together)}},
        {name: _figures(name, rounds[name]) for name in compared},
        [f"mix: {asdict(MIXED)}, drawn as {shares(together)}", *_table(rounds)],
    )


def _start(run: Run, compared: Mapping[str, Levers], calibration: Path) -> dict[str, str]:
    """The decoder's address of each side. All services start at the same time."""
    run.status("starting the sides of mixed traffic")
    launched = {
        name: sides.launches(run.folder / "mixed" / name, levers, calibration)
        for name, levers in compared.items()
    }
    run.start(*(launch for side in launched.values() for launch in side))
    return {name: side[-1].address for name, side in launched.items()}


def measures(rounds: Rounds, seed: int) -> dict[str, Measure]:
    """All on against all off; all on against each lever off."""
    taken = {
        "requests_vs_large": _speedup(rounds, OFF, seed, TARGET),
        "loss": lost(rounds[OFF], rounds[ON], seed),
    }
    return taken | {f"vs_no_{lever}": _speedup(rounds, lever, seed) for lever in NAMES}


def _speedup(rounds: Rounds, base: str, seed: int, target: float | None = None) -> Measure:
    on, other = ([one.per_s for one in rounds.get(name, ())] for name in (ON, base))
    return Measure.ratio(on if other else [], other, seed, target, statistic=ratio_of_means)


def lost(base: Sequence[Round], other: Sequence[Round], seed: int) -> Measure:
    """Points that `other` loses against `base`, request by request; the target applies to the worse bound."""
    right = (np.concatenate([one.right for one in rounds]).astype(float) for rounds in (base, other))
    first, second = right
    return held("points", mean(POINTS * (first - second), seed), MOST_LOST)


def _figures(name: str, rounds: Sequence[Round]) -> dict[str, object]:
    return side(
        "fovea",
        name,
        requests_per_s=round(float(np.mean([one.per_s for one in rounds])), 2),
        accuracy=round(float(np.mean([one.right for one in rounds])), 4),
        reached_large=round(float(np.mean([one.share_of(sides.LARGE) for one in rounds])), 4),
    )


def _table(rounds: Rounds) -> list[str]:
    lines = [f"{'side':<12} {'requests/s':>10} {'accuracy':>9} {'reached large':>14}"]
    for name, played in rounds.items():
        figures = _figures(name, played)
        label = name if name in (ON, OFF) else f"no {name}"
        lines.append(
            f"{label:<12} {figures['requests_per_s']:>10} {figures['accuracy']:>9} {figures['reached_large']:>14}"
        )
    return lines
