"""What more encoders bring and cost, and how time grows with the bytes that it is for.

- `hit_rate_loss`: points of hit rate that a fleet of three encoders loses against one alone, each image asked
  for at its owner. Every fleet gets pictures of its own, the same number in the same order.
- `encodes_per_s_core_1`, `_2`, `_3`: new pictures encoded a second by that many encoder processes of one
  thread, over the cores that they can have.
- `encode_slope`: log-log slope of the time until the rows of n new pictures are here, asked for together,
  against their bytes: whether waiting for each other costs more than their number. The pictures are of one
  size, because within one picture attention is quadratic by the model's own law.
- `step_slope`: log-log slope of the time of a decode step against the bytes it must read, the experts
  touched, the other weights and the KV, over contexts and batches.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import bounds, services
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts import affinity, growth
from bench.parts.affinity import FleetClient
from bench.parts.flags import ONE_THREAD
from bench.parts.growth import Grid, Point
from bench.parts.slope import log_log_slope
from bench.result import Measure, Result
from fovea import logs
from standin import model_dir

FLEETS = (1, 2, 3)
LOSS_TARGET = 2.0
SLOPE_TARGET = 1.1
_POOLS, _RATES, _BURSTS = 11, 12, 13
"""Which pictures are drawn for which part; none is ever asked for by two."""


@dataclass(frozen=True)
class Effort:
    pool: int
    asks: int
    rounds: int
    pictures: int
    bursts: Sequence[int]
    grid: Grid


FULL = Effort(
    200, 1000, 8, 48, (1, 2, 4, 8, 16, 32), Grid((256, 1024, 4096, 8192), (1, 4, 8, 32), 65_536, 24)
)
QUICK = Effort(12, 60, 2, 8, (1, 4, 16), Grid((256, 2048, 8192), (1, 4, 16), 16_384, 10))

Bursts = Sequence[tuple[float, float]]
"""(bytes, seconds) of each."""


def main() -> int:
    options = Options.of(parser("Measure fleets of encoders, and how time grows with bytes.").parse_args())
    return finish("scale", options.check, lambda: run(options))


def run(options: Options) -> Result:
    logs.configure("console", "warning")
    effort = QUICK if options.quick else FULL
    status = Console(stderr=True).status("starting the encoders")
    with status:
        with _running() as addresses:
            status.update("hit rates")
            hits = {size: _hits(addresses[:size], effort, options.seed) for size in FLEETS}
            status.update("encodes a second")
            rates = _rates(addresses, effort, options.seed)
            status.update("bursts of pictures")
            bursts = _bursts(addresses[0], effort, options.seed)
        status.update("decode steps")
        points = growth.measure(model_dir(), effort.grid, len(os.sched_getaffinity(0)), options.seed)
    result = Result(
        bench="scale",
        seed=options.seed,
        quick=options.quick,
        config=_config(effort),
        sides={"ours": {"version": versions("fovea")["fovea"], "args": " ".join(ONE_THREAD)}},
        measures=measures(hits, rates, bursts, points, options.seed),
    )
    show("scale", result, notes=[_shown(point) for point in points])
    return result


@contextmanager
def _running() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="fovea-scale-") as name:
        launched = [
            services.pair(model_dir(), Path(name) / str(number), ONE_THREAD)[0]
            for number in range(max(FLEETS))
        ]
        with services.started(launched) as running:
            running.ready()
            yield [launch.address for launch in launched]


def _first(seed: int, part: int, number: int = 0) -> int:
    """The seed of the first picture of a part; parts and rounds are far apart."""
    return ((seed * 100 + part) * 1000 + number) * 1000


def _hits(addresses: Sequence[str], effort: Effort, seed: int) -> list[bool]:
    pool = affinity.pictures(_first(seed, _POOLS, len(addresses)), effort.pool)
    with FleetClient(addresses) as fleet:
        return affinity.hits(fleet, pool, affinity.asked(effort.pool, effort.asks, seed))


def _rates(addresses: Sequence[str], effort: Effort, seed: int) -> dict[int, list[float]]:
    """Encodes a second and core; the fleets take turns."""
    found: dict[int, list[float]] = {size: [] for size in FLEETS}
    cores = len(os.sched_getaffinity(0))
    for turn in range(effort.rounds):
        for size in FLEETS:
            fresh = affinity.pictures(_first(seed, _RATES, turn * len(FLEETS) + size), effort.pictures)
            with FleetClient(addresses[:size]) as fleet:
                seconds, _ = affinity.burst(fleet, fresh)
            found[size].append(effort.pictures / seconds / min(size, cores))
    return found


def _bursts(address: str, effort: Effort, seed: int) -> list[tuple[float, float]]:
    found = []
    with FleetClient([address]) as fleet:
        for turn in range(max(effort.rounds, 3)):
            for count in effort.bursts:
                fresh = affinity.pictures(_first(seed, _BURSTS, turn * 100 + count), count)
                seconds, size = affinity.burst(fleet, fresh)
                found.append((float(size), seconds))
    return found


def measures(
    hits: Mapping[int, Sequence[bool]],
    rates: Mapping[int, Sequence[float]],
    bursts: Bursts,
    points: Sequence[Point],
    seed: int,
) -> dict[str, Measure]:
    """The figures that are promised, and beside them the rates they are about."""
    alone, most = hits[FLEETS[0]], hits[FLEETS[-1]]
    lost = sum(one and not other for one, other in zip(alone, most, strict=True))
    gained = sum(other and not one for one, other in zip(alone, most, strict=True))
    loss = bounds.difference_of_shares(lost, gained, len(alone))
    percent = bounds.Bounded(100 * loss.value, 100 * loss.lower, 100 * loss.upper, loss.n)
    steps = [(point.bytes, point.seconds) for point in points]
    return {
        "hit_rate_loss": Measure.of("points", percent, LOSS_TARGET, "at most"),
        "encode_slope": Measure.of("slope", log_log_slope(bursts, seed), SLOPE_TARGET, "at most"),
        "step_slope": Measure.of("slope", log_log_slope(steps, seed), SLOPE_TARGET, "at most"),
        **{f"hit_rate_{size}": Measure.of("ratio", bounds.share(sum(h), len(h))) for size, h in hits.items()},
        **{
            f"encodes_per_s_core_{size}": Measure.of("images/s", bounds.median(values, seed))
            for size, values in rates.items()
        },
    }


def _config(effort: Effort) -> dict[str, object]:
    grid = vars(effort.grid)
    return {"model": model_dir().name, "image": [affinity.SIDE] * 2, **vars(effort), "grid": grid}


def _shown(point: Point) -> str:
    mib = point.bytes / 2**20
    return f"{point.batch} x {point.context}: {1000 * point.seconds:.1f} ms a step for {mib:,.0f} MiB"


if __name__ == "__main__":
    sys.exit(main())
