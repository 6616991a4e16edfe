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


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    run.status("kills")
    tally, kept = killed(run, effort.calls, effort.kills, effort.callers)
    owed = tally.owed
    times = cpu_times(run, effort.cpu_s, effort.batch, effort.pairs)
    run.status("budgets")
    spent = spend(run, effort.budget, kills=not run.quick) if postgres.is_installed() else None
    run.status("anomalies")
    return Result(
        config={"model": model_dir().name, **vars(effort)},
        sides={"ours": side("fovea")},
        measures={
            "missing": _count(len(owed - kept.keys()), len(owed)),
            "double": _count(sum(count > 1 for count in kept.values()), len(kept)),
            "cpu_share": Measure.ratio(
                times["with"], times["without"], run.seed, CPU_TARGET, "at most", bounds.ratio_of_means
            ),
            **_budgets(spent),
            **anomalies.measures(run.effort(anomalies.SEEDS, 4)),
        },
        notes=[
            f"{len(tally.kills)} kills; {len(tally.ended) - len(owed)} calls ended within a second of one",
            "calls: " + ", ".join(f"{count:,} {ending}" for ending, count in tally.endings.most_common()),
        ],
    )


def _budgets(spent: Spent | None) -> dict[str, Measure]:
    """Owed without PostgreSQL; without a kill, what it leaves is owed."""
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


def _exact(measure: Measure) -> Measure:
    return replace(measure, lower=measure.value, upper=measure.value)


def _count(value: int, n: int) -> Measure:
    return Measure("count", value, n, value, value, 0, "at most")


if __name__ == "__main__":
    runner.main(
        "ledger",
        "Kill decoders, count records, spend budgets, weigh the ledger's CPU time.",
        measure,
    )
