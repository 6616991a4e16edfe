"""What the ledger keeps when calls are cut and the decoder is killed, its cost, and whether budgets hold.

- `missing`, `double`: calls that a client made, a third of them cancelled, timed out or refused, while the
  decoder is killed again and again. A call that the decoder answered, refused or had begun to answer must
  have exactly one record, unless it ended within a second of a kill, or was cut by the kill itself.
- `cpu_share`: CPU time of the decoder for the same requests, with the ledger against without.
- `requests_over`: what 64 callers spent on two decoders with one PostgreSQL above a tenant's quota, in
  requests; `quota_used`: the share of the quota that they could spend. `still_reserved`: reservations and
  days with reserved tokens after the last answer; `reserved_after_kill`: once the leases of a killed decoder
  are over.
- `anomalies_found`, `false_alarms`: see `bench.parts.anomalies`.

For all but the last, clients count from outside: they name every request, and read UsageService.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from bench import bounds, postgres, runner
from bench.host import side
from bench.parts import anomalies
from bench.parts.budgets import Spent, spend
from bench.parts.ledger_cpu import cpu_times
from bench.parts.ledger_kills import killed
from bench.result import Measure, Result
from bench.runner import Run
from standin import model_dir

CPU_TARGET = 1.01


@dataclass(frozen=True)
class Effort:
    """How much is asked."""

    calls: int = 10_000
    kills: int = 20
    callers: int = 16
    cpu_s: float = 240.0
    batch: int = 40
    pairs: int = 4
    budget: int = 600


QUICK = Effort(calls=200, kills=1, callers=8, cpu_s=4.0, batch=10, pairs=1, budget=60)


PARTS = ("kills", "cpu", "budgets", "anomalies")


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", choices=("all", *PARTS), default="all", help="measure a part")


def measure(run: Run) -> Result:
    effort, notes, measures = run.effort(Effort(), QUICK), list[str](), dict[str, Measure]()
    wanted = PARTS if run.flags.part == "all" else (run.flags.part,)
    for name in PARTS:
        run.status(name)
        measures |= MEASURES[name](run, effort if name in wanted else None, notes)
    config = {"model": model_dir().name, "part": run.flags.part, **vars(effort)}
    return Result(config=config, sides={"ours": side("fovea")}, measures=measures, notes=notes)


def _kills(run: Run, effort: Effort | None, notes: list[str]) -> dict[str, Measure]:
    if effort is None:
        return {name: _count(0, 0).owed() for name in ("missing", "double")}
    tally, kept = killed(run, effort.calls, effort.kills, effort.callers)
    owed = tally.owed
    notes += [
        f"{len(tally.kills)} kills; {len(tally.ended) - len(owed)} calls ended within a second of one",
        "calls: " + ", ".join(f"{count:,} {ending}" for ending, count in tally.endings.most_common()),
    ]
    return {
        "missing": _count(len(owed - kept.keys()), len(owed)),
        "double": _count(sum(count > 1 for count in kept.values()), len(kept)),
    }


def _cpu(run: Run, effort: Effort | None, notes: list[str]) -> dict[str, Measure]:
    if effort is None:
        return {"cpu_share": Measure("ratio", None, target=CPU_TARGET, sense="at most")}
    times = cpu_times(run, effort.cpu_s, effort.batch, effort.pairs)
    shares = times["with"], times["without"]
    return {"cpu_share": Measure.ratio(*shares, run.seed, CPU_TARGET, "at most", bounds.ratio_of_means)}


def _budgets(run: Run, effort: Effort | None, notes: list[str]) -> dict[str, Measure]:
    """Owed without PostgreSQL; without a kill, what it leaves is owed."""
    spent = None
    if effort is not None and postgres.is_installed():
        spent = spend(run, effort.budget, kills=not run.quick)
    known = spent or Spent(quota=1, tokens=0, most=1, requests=0, reserved=0)
    n, after = known.requests, known.reserved_after_kill
    measures = {
        "requests_over": Measure("requests", known.requests_over, n, target=1, sense="at most"),
        "quota_used": Measure("share", known.share_used, n, target=0.9),
        "still_reserved": _count(known.reserved, n),
        "reserved_after_kill": _count(after or 0, known.killed_with or 0),
    }
    owed = set(measures) if spent is None else {"reserved_after_kill"} if after is None else set()
    return {name: taken.owed() if name in owed else _exact(taken) for name, taken in measures.items()}


def _anomalies(run: Run, effort: Effort | None, notes: list[str]) -> dict[str, Measure]:
    if effort is None:
        most = Measure("count", None, target=anomalies.MOST, sense="at most")
        return {"anomalies_found": Measure("share", None, target=1.0), "false_alarms": most}
    return anomalies.measures(run.effort(anomalies.SEEDS, 4))


MEASURES = {"kills": _kills, "cpu": _cpu, "budgets": _budgets, "anomalies": _anomalies}
"""By part. Without an effort the part's measures are owed."""


def _exact(measure: Measure) -> Measure:
    return replace(measure, lower=measure.value, upper=measure.value)


def _count(value: int, n: int) -> Measure:
    return Measure("count", value, n, value, value, 0, "at most")


if __name__ == "__main__":
    runner.main(
        "ledger",
        "Kill decoders, count records, spend budgets, weigh the ledger's CPU time.",
        measure,
        add_flags,
    )
