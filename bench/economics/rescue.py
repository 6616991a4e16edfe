"""The rescue case: report pages to naive services, which have neither planning nor caches, and to ours.

First a few concurrent callers measure the rate that the naive side sustains. Then both sides get the same
requests, in turn, at 70 % of that rate. Arrival times are drawn once for both and do not wait for answers.
"""

from __future__ import annotations

import itertools
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from bench import services
from bench.bounds import mean, ratio_of_means
from bench.economics.policies import EVERYTHING, POINTS, held, share_saved
from bench.economics.report_pages import Request
from bench.evaluation.asking import MAX_NEW_TOKENS
from bench.host import side
from bench.parts.timing import TimedAnswer, time_answer, time_round
from bench.result import Measure
from bench.runner import Run
from fovea.client import Budget, Client, Sampling

CALLERS = 4
LOAD = 0.7
MEASURED = 12
"""Requests of the stream from which the sustained rate is measured."""
RESET_PEAK = "5"
TTFT, LATENCY = attrgetter("ttft_ms"), attrgetter("total_ms")
TOKENS = attrgetter("receipt.totals.visual_tokens")
SAMPLING = Sampling(max_new_tokens=MAX_NEW_TOKENS)

Flags = tuple[Sequence[str], Sequence[str]]
NAIVE = Budget(max_pixels=EVERYTHING, detail="high", reduction="off")
OURS = Budget(max_pixels=EVERYTHING, detail="auto")
NAIVE_FLAGS: Flags = (services.NO_ROW_STORE, services.NO_DECODER_CACHES)
OUR_FLAGS: Flags = ((), ())
"""Of the encoder and of the decoder."""


class PeakMemory:
    """The peaks of several processes since its creation, less their memory at its creation. Linux only."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._idle = sum(_status_bytes(pid, "VmRSS") for pid in pids)
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)

    def bytes(self) -> int:
        """An upper bound: the processes need not peak at the same time."""
        return sum(_status_bytes(pid, "VmHWM") for pid in self._pids) - self._idle


def _status_bytes(pid: int, field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    if match is None:
        raise RuntimeError(f"the kernel does not report {field}")
    return 1024 * int(match[1])


Value = Callable[[TimedAnswer], float]


@dataclass(frozen=True)
class SideOutcome:
    """The answers to all requests, which of them were right, and the peak memory in bytes."""

    answers: Sequence[TimedAnswer]
    right: np.ndarray
    memory: int

    def values(self, value: Value) -> list[float]:
        return [value(answer) for answer in self.answers]

    def figures(self, name: str) -> dict[str, float]:
        return {
            f"{name}_ttft_ms": round(float(np.mean(self.values(TTFT))), 1),
            f"{name}_latency_ms": round(float(np.mean(self.values(LATENCY))), 1),
            f"{name}_memory_mib": round(self.memory / 2**20, 1),
            f"{name}_right": round(float(self.right.mean()), 3),
            f"{name}_tokens": round(float(np.mean(self.values(TOKENS))), 1),
        }


def measure(run: Run, model: Path, requests: Sequence[Request]) -> tuple[dict[str, Measure], dict[str, Any]]:
    """The measures, and the naive side with the figures of both. Every phase starts its services anew."""
    first = requests[:MEASURED]
    with _services(run, model, NAIVE_FLAGS, "the rate that naive sustains") as (address, _):
        sustained = sustained_rate(address, first, NAIVE)
    times = arrival_times(len(requests), LOAD * sustained, run.seed)
    with _services(run, model, NAIVE_FLAGS, f"naive, {times[-1]:.0f} s") as (address, peak):
        naive = open_loop(address, peak, requests, times, NAIVE)
    with _services(run, model, OUR_FLAGS, "the rate that ours sustains") as (address, _):
        ours_sustained = sustained_rate(address, first, OURS)
    with _services(run, model, OUR_FLAGS, f"ours, {times[-1]:.0f} s") as (address, peak):
        ours = open_loop(address, peak, requests, times, OURS)
    return measures(naive, ours, run.seed), side(
        "fovea",
        " ".join(flag for flags in NAIVE_FLAGS for flag in flags),
        requests=len(requests),
        requests_per_s=round(LOAD * sustained, 4),
        naive_carries_per_s=round(sustained, 4),
        ours_carries_per_s=round(ours_sustained, 4),
        **naive.figures("naive"),
        **ours.figures("ours"),
    )


@contextmanager
def _services(run: Run, model: Path, flags: Flags, phase: str) -> Iterator[tuple[str, PeakMemory]]:
    """A pair of services with an empty store: the decoder's address, and the memory both take from now on."""
    run.status(f"the rescue case: {phase}")
    folder = Path(tempfile.mkdtemp(dir=run.folder))
    launched = services.pair(model, folder, (), *flags)
    with services.started(launched) as running:
        yield launched[-1].address, PeakMemory([child.pid for child in running.running])


def sustained_rate(address: str, requests: Sequence[Request], budget: Budget) -> float:
    """Requests answered a second with a few callers that wait for their answers."""
    with Client(address) as client:
        timed = time_round(lambda request: _answer(client, request, budget), requests, CALLERS)
        return len(requests) / timed.seconds


def arrival_times(count: int, rate: float, seed: int) -> list[float]:
    """Seconds after the start at which requests come: a Poisson process."""
    rng = random.Random(f"arrivals/{seed}")
    return list(itertools.accumulate(rng.expovariate(rate) for _ in range(count)))


def open_loop(
    address: str, peak: PeakMemory, requests: Sequence[Request], times: Sequence[float], budget: Budget
) -> SideOutcome:
    """Send each request at its time, whether or not earlier requests have ended. `peak` is counting."""
    with Client(address) as client, ThreadPoolExecutor(len(requests)) as pool:
        begin, calls = time.perf_counter(), []
        for request, at in zip(requests, times, strict=True):
            time.sleep(max(0.0, begin + at - time.perf_counter()))
            calls.append(pool.submit(_answer, client, request, budget, begin + at))
        answers = [call.result() for call in calls]
    pairs = zip(answers, requests, strict=True)
    right = [answer.text.strip() == request.asked.answer for answer, request in pairs]
    return SideOutcome(answers, np.array(right, float), peak.bytes())


def _answer(client: Client, request: Request, budget: Budget, begin: float | None = None) -> TimedAnswer:
    """Times count from `begin`, waiting included."""
    return time_answer(client, request.asked.question, [request.file], SAMPLING, budget, begin)


def measures(naive: SideOutcome, ours: SideOutcome, seed: int) -> dict[str, Measure]:
    """Ours against naive: savings as shares, times as ratios of means, accuracy in points."""

    def ratio(value: Value, target: float) -> Measure:
        means = ratio_of_means(ours.values(value), naive.values(value), seed)
        return Measure.of("ratio", means, target, "at most")

    tokens = ratio_of_means(ours.values(TOKENS), naive.values(TOKENS), seed)
    return {
        "rescue_tokens": Measure.of("share", share_saved(tokens), 0.65),
        "rescue_memory": Measure("share", 1 - ours.memory / naive.memory, 1, target=0.40),
        "rescue_ttft": ratio(TTFT, 0.2),
        "rescue_latency": ratio(LATENCY, 0.2),
        "rescue_loss": held("points", mean(POINTS * (naive.right - ours.right), seed), 1.0),
    }
