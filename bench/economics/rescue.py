"""The rescue case: the stream of report pages to services that plan nothing and keep nothing, and to ours
as they are.

First what the naive side can carry, a few callers at a time; then the same requests to both, in turn, at 70
% of that rate, at moments drawn once for both (open loop: nobody waits for an answer before the next asks).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from bench.bounds import Bounded, Floats, bootstrap, mean
from bench.economics.losses import POINTS, held
from bench.economics.memory import Peak
from bench.economics.policies import EVERYTHING
from bench.economics.report_pages import Request
from bench.evaluation.asking import MAX_NEW_TOKENS
from bench.parts import flags
from bench.result import Measure
from bench.turns import ms_since
from fovea.client import Budget, Client, Finished, Sampling, Text
from fovea.contract.receipt import Receipt

CALLERS = 4
LOAD = 0.7
NAIVE = Budget(max_pixels=EVERYTHING, detail="high", reduction="off")
OURS = Budget(max_pixels=EVERYTHING, detail="auto")
NAIVE_ENCODER = flags.NO_ROW_STORE
NAIVE_DECODER = flags.NO_DECODER_CACHES


@dataclass(frozen=True)
class Answered:
    """Milliseconds from the moment at which the request came, uploads and waiting included."""

    ttft_ms: float
    total_ms: float
    right: bool
    receipt: Receipt


@dataclass(frozen=True)
class Side:
    """What one side did with all requests, and the most memory it took for them, in bytes."""

    answers: Sequence[Answered]
    memory: int


def capacity(address: str, requests: Sequence[Request], budget: Budget) -> float:
    """Requests a second that are answered when a few callers ask one after another."""
    with Client(address) as client, ThreadPoolExecutor(CALLERS) as pool:
        begin = time.perf_counter()
        for _ in pool.map(lambda one: _answer(client, one, budget, time.perf_counter()), requests):
            pass
        return len(requests) / (time.perf_counter() - begin)


def arrivals(count: int, rate: float, seed: int) -> list[float]:
    """Seconds after the start at which requests come: a Poisson process."""
    rng, now, found = random.Random(f"arrivals/{seed}"), 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate)
        found.append(now)
    return found


def open_loop(
    address: str, peak: Peak, requests: Sequence[Request], moments: Sequence[float], budget: Budget
) -> Side:
    """Every request at its moment, whatever is still unanswered. `peak` has counted since the start."""
    with Client(address) as client, ThreadPoolExecutor(len(requests)) as pool:
        begin, calls = time.perf_counter(), []
        for request, moment in zip(requests, moments, strict=True):
            time.sleep(max(0.0, begin + moment - time.perf_counter()))
            calls.append(pool.submit(_answer, client, request, budget, begin + moment))
        answers = [call.result() for call in calls]
    return Side(answers, peak.bytes())


def _answer(client: Client, request: Request, budget: Budget, came: float) -> Answered:
    first, text, receipt = None, "", None
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
    asked = request.asked
    with closing(client.stream(asked.question, [request.file], budget=budget, sampling=sampling)) as events:
        for event in events:
            if first is None and isinstance(event, Text | Finished):
                first = ms_since(came)
            if isinstance(event, Text):
                text += event.text
            elif isinstance(event, Finished):
                receipt = event.receipt
    if first is None or receipt is None:
        raise RuntimeError("the stream ended without an answer")
    return Answered(first, ms_since(came), text.strip() == asked.answer, receipt)


def measures(naive: Side, ours: Side, seed: int) -> dict[str, Measure]:
    """Ours against naive: what is saved as a share, times as ratios of means, accuracy in points."""
    tokens = _ratio(naive, ours, lambda one: one.receipt.totals.visual_tokens, seed)
    less = Bounded(1 - tokens.value, 1 - tokens.upper, 1 - tokens.lower, tokens.n)
    right = [np.array([one.right for one in side.answers], float) for side in (naive, ours)]
    return {
        "rescue_tokens": Measure.of("share", less, 0.65),
        "rescue_memory": Measure("share", 1 - ours.memory / naive.memory, 1, target=0.40),
        "rescue_ttft": Measure.of("ratio", _ratio(naive, ours, lambda o: o.ttft_ms, seed), 0.2, "at most"),
        "rescue_latency": Measure.of(
            "ratio", _ratio(naive, ours, lambda o: o.total_ms, seed), 0.2, "at most"
        ),
        "rescue_loss": held("points", mean(POINTS * (right[0] - right[1]), seed), 1.0),
    }


def _ratio(naive: Side, ours: Side, figure: Callable[[Answered], float], seed: int) -> Bounded:
    """Mean over mean, requests drawn in pairs."""
    pairs = np.array(
        [[figure(a), figure(b)] for a, b in zip(naive.answers, ours.answers, strict=True)], float
    )

    def ratio(drawn: Floats) -> Floats:
        means = drawn.mean(axis=1)
        return np.asarray(means[:, 1] / means[:, 0])

    return bootstrap(pairs, ratio, seed)
