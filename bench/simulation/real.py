"""Real fleets on this machine: all encoders and a group of decoders for each set-up, running at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import services
from bench.bounds import Floats
from bench.runner import Run
from bench.simulation.caller import Caller
from bench.simulation.fleet import Setup
from bench.simulation.load import Load
from bench.simulation.usage import busy_s, own_s, tree_s
from fovea.cli.children import Child

SERIES = 61
"""Of photos, the first; each set-up and the calibration have their own."""


@dataclass(frozen=True)
class RealFleets:
    """Running services. A decoder of a set-up knows its encoders only; meanwhile other decoders idle."""

    running: Sequence[Child]
    encoders: Sequence[Child]
    decoders: Mapping[Setup, Sequence[Child]]

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self.running]

    def idle_cores(self, seconds: float) -> float:
        """The cores that all services together use while nobody calls them: timers, checks of encoders."""
        before = sum(map(tree_s, self.pids))
        time.sleep(seconds)
        return (sum(map(tree_s, self.pids)) - before) / seconds


@dataclass(frozen=True)
class Observed:
    """A round: requests a second, mean seconds to the first token, and cores that others used meanwhile."""

    requests_per_s: float
    ttft_s: float
    others: float


def start(run: Run, model: Path, setups: Sequence[Setup]) -> RealFleets:
    """Set-ups with as many encoders share decoders."""
    most = max(setup.encoders for setup in setups)
    pairs = [services.pair(model, run.folder / f"encoder-{n}", services.ONE_THREAD) for n in range(most)]
    encoders = [encoder for encoder, _ in pairs]
    needed = {n: max((s.decoders for s in setups if s.encoders == n), default=0) for n in range(1, most + 1)}
    places, decoders = list[int](), []
    for count, number in needed.items():
        addresses = ",".join(encoder.address for encoder in encoders[:count])
        for place in range(number):
            flags = ("--encoders", addresses)  # the last of repeated flags counts
            folder = run.folder / f"decoder-{count}-{place}"
            decoders.append(services.pair(model, folder, services.ONE_THREAD, decoder_flags=flags)[1])
            places.append(count)
    running = run.start(*encoders, *decoders).running
    by_count = {n: [c for c, at in zip(running[most:], places, strict=True) if at == n] for n in needed}
    return RealFleets(running, running[:most], {s: by_count[s.encoders][: s.decoders] for s in setups})


class RealFleet:
    """A set-up under load."""

    def __init__(self, run: Run, fleets: RealFleets, setup: Setup, load: Load, series: int) -> None:
        addresses = [decoder.address for decoder in fleets.decoders[setup]]
        self._caller = Caller(addresses, load, run.seed + 1, series, run.stack)
        self._load, self._pids, self._seed = load, fleets.pids, run.seed + 1
        self._caller.warm_up()

    def round(self, turn: int) -> Observed:
        requests = self._load.draw(1000 * self._seed + turn)
        begin, others = time.perf_counter(), busy_s() - self._ours()
        timed = self._caller.round(requests)
        others = busy_s() - self._ours() - others
        seconds, ttft_s = time.perf_counter() - begin, float(np.mean(timed.ttft_ms)) / 1000
        return Observed(len(requests) / timed.seconds, ttft_s, max(0.0, others) / seconds)

    def _ours(self) -> float:
        return own_s() + sum(map(tree_s, self._pids))


def samples(rounds: Sequence[Observed]) -> Floats:
    """(rounds, 2): requests a second and seconds to the first token."""
    return np.array([[each.requests_per_s, each.ttft_s] for each in rounds])
