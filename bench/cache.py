"""What the caches save, at 768x768: time to the first token cold, with rows, with KV, and after a restart.

Measures, all on the stand-in's two services as anybody would start them:

- `hit_encode_share`: the receipt's encode stage where the rows were stored, against cold;
- `prefix`: time to the first token where the picture's KV is in the cache, against cold; null and owed where
  the engine reuses none;
- `restart`: the first question after both services were restarted, its rows stored before, against the
  questions that follow it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import bounds, services
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts.heard import Heard
from bench.parts.visits import SIDE, Restarts, Visits, restart, visit
from bench.result import Measure, Result
from standin import model_dir

HIT_ENCODE_TARGET = 0.05
PREFIX_TARGET = 0.35
RESTART_TARGET = 1.2


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    visits_s: float = 60.0
    least: int = 10
    restarts: int = 12


QUICK = Effort(visits_s=3.0, least=4, restarts=2)


def main() -> int:
    options = Options.of(parser("Measure what the caches save: rows, KV prefix, restart.").parse_args())
    return finish("cache", options.check, lambda: run(options))


def run(options: Options) -> Result:
    effort = QUICK if options.quick else Effort()
    with tempfile.TemporaryDirectory(prefix="fovea-cache-") as folder:
        launched = services.pair(model_dir(), Path(folder))
        status = Console(stderr=True).status("starting the services")
        with status, services.started(launched) as running:
            running.ready()
            status.update("cold, rows, prefix")
            visits = visit(launched[-1].address, effort.visits_s, effort.least, options.seed)
            status.update("restarts")
            restarts = restart(running, launched, effort.restarts, options.seed)
    result = Result(
        bench="cache",
        seed=options.seed,
        quick=options.quick,
        config={"model": model_dir().name, "image": [SIDE, SIDE], **vars(effort)},
        sides={"ours": {"version": versions("fovea")["fovea"], "args": ""}},
        measures=measures(visits, restarts, options.seed),
    )
    show("cache", result)
    return result


def measures(visits: Visits, restarts: Restarts, seed: int) -> dict[str, Measure]:
    """The figures that are promised, and beside them what they were made of."""
    cold, rows = visits.cold, visits.rows
    hit = bounds.ratio_of_medians(_encode(rows), _encode(cold), seed)
    after = bounds.ratio_of_medians(restarts.first, restarts.warm, seed)
    return {
        "hit_encode_share": Measure.of("ratio", hit, HIT_ENCODE_TARGET, "at most"),
        "prefix": _prefix(visits, seed),
        "restart": Measure.of("ratio", after, RESTART_TARGET, "at most"),
        "ttft_cold_ms": _median(_ttft(cold), seed),
        "ttft_rows_ms": _median(_ttft(rows), seed),
        "ttft_prefix_ms": _median(_ttft(visits.prefix), seed)
        if visits.prefixes_were_hit
        else Measure("ms", None),
        "ttft_restart_ms": _median(restarts.first, seed),
    }


def _prefix(visits: Visits, seed: int) -> Measure:
    if not visits.prefixes_were_hit:
        return Measure("ratio", None, target=PREFIX_TARGET, sense="at most")
    found = bounds.ratio_of_medians(_ttft(visits.prefix), _ttft(visits.cold), seed)
    return Measure.of("ratio", found, PREFIX_TARGET, "at most")


def _median(values: Sequence[float], seed: int) -> Measure:
    return Measure.of("ms", bounds.median(values, seed))


def _ttft(heard: Sequence[Heard]) -> list[float]:
    return [one.ttft_ms for one in heard]


def _encode(heard: Sequence[Heard]) -> list[float]:
    return [one.receipt.stages_ms.encode for one in heard]


if __name__ == "__main__":
    sys.exit(main())
