"""What more encoders gain and cost, and how time grows with bytes.

- `hit_rate_loss`: points of hit rate that a fleet of three encoders loses against a single encoder. Every
  fleet gets its own pictures, the same number in the same order.
- `encodes_per_s_core_1`, `_2`, `_3`: new pictures encoded a second by that many encoder processes with a
  single thread each, divided by the cores available to them.
- `encode_slope`: log-log slope of time against bytes of rows, for n new pictures requested together. A slope
  above 1 means that queueing costs more than the number of pictures. All pictures have the same size, because
  attention within a picture is quadratic by design.
- `step_slope`: log-log slope of the time of a decode step against the bytes that it reads: the touched
  experts, the other weights and the KV. It covers contexts and batches.

Images go directly to the owner that a decoder would choose, so that no decoder's cache counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import bounds, runner, services
from bench.bounds import Bounded, Floats
from bench.host import side
from bench.parts.photo import photos
from bench.parts.steps import Grid, Point, measure_grid
from bench.parts.timing import time_round
from bench.result import Measure, Result, medians
from bench.runner import Run
from fovea import logs
from fovea.client import EncoderClient
from fovea.client.messages import id_of
from fovea.machine import cores
from fovea.rendezvous import owner
from standin import model_dir

SIDE = 256
FLEETS = (1, 2, 3)
CALLERS = 2
"""For each encoder, so that no encoder waits for its caller."""
LOSS_TARGET = 2.0
SLOPE_TARGET = 1.1
HITS, RATES, BURSTS = 11, 21, 31
"""Series of photos; those of `HITS` are counted on by the size of the fleet."""


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

Pairs = Sequence[tuple[float, float]]
"""(bytes, seconds)."""


class FleetClient:
    """The clients of a fleet's encoders, by address."""

    def __init__(self, addresses: Sequence[str], stack: ExitStack) -> None:
        self._clients = {address: stack.enter_context(EncoderClient(address)) for address in addresses}

    def put(self, picture: bytes) -> str:
        """Store a picture at its owner; returns its id."""
        return self._client(id_of(picture)).put(picture).facts.digest

    def encode(self, digest: str) -> tuple[str, int]:
        """The source of the rows, and their bytes."""
        rows = self._client(digest).encode(digest)
        return rows.source, len(rows.data)

    def encode_new(self, pictures: Sequence[bytes]) -> tuple[float, int]:
        """The seconds until the rows of pictures, requested together, have arrived; and their bytes."""
        digests = [self.put(picture) for picture in pictures]
        timed = time_round(self.encode, digests, CALLERS * len(self._clients))
        if {source for source, _ in timed.answers} != {"encoded"}:
            raise RuntimeError("pictures that were never seen were not encoded")
        return timed.seconds, sum(size for _, size in timed.answers)

    def _client(self, digest: str) -> EncoderClient:
        return self._clients[owner(digest, self._clients)]


def measure(run: Run) -> Result:
    logs.configure("console", "warning")
    effort = run.effort(FULL, QUICK)
    with ExitStack() as stack:
        fleets = _start_fleets(run.folder, stack)
        run.status("hit rates")
        hits = {size: measure_hits(fleet, size, effort, run.seed) for size, fleet in fleets.items()}
        run.status("encodes a second")
        rates = measure_rates(fleets, effort, run.seed)
        run.status("bursts of pictures")
        bursts = measure_bursts(fleets[1], effort, run.seed)
    run.status("decode steps")
    points = measure_grid(model_dir(), effort.grid, cores(), run.seed)
    config = {"model": model_dir().name, "image": [SIDE, SIDE], **vars(effort), "grid": vars(effort.grid)}
    return Result(
        config=config,
        sides={"ours": side("fovea", " ".join(services.ONE_THREAD))},
        measures=measures(hits, rates, bursts, points, run.seed),
        notes=[
            f"{p.batch} x {p.context}: {1000 * p.seconds:.1f} ms a step for {p.bytes / 2**20:,.0f} MiB"
            for p in points
        ],
    )


def _start_fleets(folder: Path, stack: ExitStack) -> dict[int, FleetClient]:
    """By size; the larger fleets include the encoders of the smaller ones."""
    numbers = range(max(FLEETS))
    pairs = [services.pair(model_dir(), folder / str(number), services.ONE_THREAD) for number in numbers]
    launched = [encoder for encoder, _ in pairs]
    stack.enter_context(services.started(launched))
    return {size: FleetClient([launch.address for launch in launched[:size]], stack) for size in FLEETS}


def measure_hits(fleet: FleetClient, size: int, effort: Effort, seed: int) -> list[bool]:
    """Whether each request, sequentially, was answered with stored rows."""
    pool = itertools.islice(photos(seed, HITS + size, SIDE), effort.pool)
    digests = [fleet.put(picture) for picture in pool]
    return [fleet.encode(digests[number])[0] == "rows" for number in draw(effort, seed)]


def draw(effort: Effort, seed: int) -> list[int]:
    """Which pictures of the pool are requested, drawn uniformly."""
    numbers: list[int] = np.random.default_rng(seed).integers(effort.pool, size=effort.asks).tolist()
    return numbers


def measure_rates(fleets: Mapping[int, FleetClient], effort: Effort, seed: int) -> dict[int, list[float]]:
    """Encodes a second and core; the fleets take turns."""
    rates: dict[int, list[float]] = {size: [] for size in fleets}
    unseen = photos(seed, RATES, SIDE)
    for _ in range(effort.rounds):
        for size, fleet in fleets.items():
            seconds, _ = fleet.encode_new(list(itertools.islice(unseen, effort.pictures)))
            rates[size].append(effort.pictures / seconds / min(size, cores()))
    return rates


def measure_bursts(encoder: FleetClient, effort: Effort, seed: int) -> list[tuple[float, float]]:
    unseen, pairs = photos(seed, BURSTS, SIDE), []
    for _ in range(max(effort.rounds, 3)):
        for count in effort.bursts:
            seconds, size = encoder.encode_new(list(itertools.islice(unseen, count)))
            pairs.append((float(size), seconds))
    return pairs


def measures(
    hits: Mapping[int, Sequence[bool]],
    rates: Mapping[int, Sequence[float]],
    bursts: Pairs,
    points: Sequence[Point],
    seed: int,
) -> dict[str, Measure]:
    """The promised measures, and the rates behind them."""
    single, fleet = (np.array(hits[size], bool) for size in (FLEETS[0], FLEETS[-1]))
    lost, gained = int((single & ~fleet).sum()), int((fleet & ~single).sum())
    loss = bounds.difference_of_shares(lost, gained, len(single)).scaled(100)
    steps = [(point.bytes, point.seconds) for point in points]
    per_core = {f"encodes_per_s_core_{size}": values for size, values in rates.items()}
    return {
        "hit_rate_loss": Measure.of("points", loss, LOSS_TARGET, "at most"),
        "encode_slope": Measure.of("slope", log_log_slope(bursts, seed), SLOPE_TARGET, "at most"),
        "step_slope": Measure.of("slope", log_log_slope(steps, seed), SLOPE_TARGET, "at most"),
        **{f"hit_rate_{size}": Measure.of("ratio", bounds.share(sum(h), len(h))) for size, h in hits.items()},
        **medians("images/s", per_core, seed),
    }


def log_log_slope(pairs: Pairs, seed: int = 0) -> Bounded:
    """The least-squares slope of log(seconds) over log(bytes): 1 is proportional; above 1 the cost of a
    byte grows. Raises ValueError unless there are two different numbers of bytes.
    """
    samples = np.log(np.asarray(pairs, dtype=np.float64))
    if len(np.unique(samples[:, 0])) < 2:
        raise ValueError("a single number of bytes has no slope")
    return bounds.bootstrap(samples, _slopes, seed)


def _slopes(drawn: Floats) -> Floats:
    """A draw that repeats a single point has no slope of its own and gets the median of the others."""
    x, y = drawn[..., 0], drawn[..., 1]
    x = x - x.mean(axis=1, keepdims=True)
    spread = (x * x).sum(axis=1)
    flat = spread < 1e-12
    slopes = (x * (y - y.mean(axis=1, keepdims=True))).sum(axis=1) / np.where(flat, 1.0, spread)
    return np.asarray(np.where(flat, np.median(slopes[~flat]), slopes))


if __name__ == "__main__":
    runner.main("scale", "Measure fleets of encoders, and how time grows with bytes.", measure)
