"""An open loop at half of the peak, with every reply noted: what the cases that break a fleet share.

A trial has a calm phase and a phase with faults, in the same run and with the same mix of questions. A pair
of services that sees no fault answers every question again at the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.fault_cases import fleet as fleets
from bench.fault_cases.load import Outcome, open_loop, peak
from bench.fault_cases.questions import AT_ONCE, Answers, Caller, Questions
from bench.result import Measure
from bench.runner import Run

SHARE = 0.5
PHASE = 1_000_000
"""Each phase has questions of its own, so that new pictures are new."""
QUICK_RATE = 6.0
P99_TARGET = 3.0
P99_CALLS = 100
"""Fewer calls have no p99: their slowest call says nothing."""
Faults = Callable[[], Awaitable[object]]


@dataclass
class Trial:
    """A caller with its questions, and the calls a second that it begins."""

    caller: Caller
    questions: Questions
    rate: float = 0.0
    answers: Answers = field(default_factory=Answers)
    _phases: int = 0

    async def prepare(self, run: Run) -> None:
        """Upload the known pictures and set the rate to half of the peak."""
        run.status("measuring the peak")
        await self.upload()
        await peak(self._call(), run.effort(3.0, 0.5), AT_ONCE)
        half = SHARE * await peak(self._call(), run.effort(15.0, 1.0), AT_ONCE)
        self.rate = run.effort(half, min(half, QUICK_RATE))

    async def upload(self) -> None:
        for data in self.questions.known:
            await self.caller.put(data)

    async def calm(self, seconds: float) -> list[Outcome]:
        return await open_loop(self._call(), self.rate, seconds)

    async def until(self, stop: asyncio.Event) -> list[Outcome]:
        return await open_loop(self._call(), self.rate, float("inf"), stop)

    def _call(self) -> Callable[[int], Awaitable[None]]:
        """Asks the questions of a new phase."""
        self._phases += 1
        first = self._phases * PHASE

        async def call(number: int) -> None:
            question = self.questions[first + number]
            self.answers.note(question, await self.caller.ask(question))

        return call


async def during(faults: Faults, *trials: Trial) -> list[list[Outcome]]:
    """For each trial, the calls that begin while `faults` runs."""
    stop = asyncio.Event()
    loops = [asyncio.create_task(trial.until(stop)) for trial in trials]
    try:
        await faults()
    finally:
        stop.set()
    return list(await asyncio.gather(*loops))


async def wrong_answers(run: Run, *trials: Trial) -> Measure:
    """The replies that differ from those of services that saw no fault."""
    run.status("asking again, without faults")
    calm = fleets.start(run, encoders=1, decoders=1, folder="reference")
    async with Caller(calm.decoders[0].address) as reference:
        wrong = [await trial.answers.wrong(reference, trial.questions.known) for trial in trials]
    count = sum(trial.answers.count for trial in trials)
    return Measure("answers", sum(wrong), count, target=0, sense="at most")


def failed(outcomes: Sequence[Outcome]) -> Measure:
    count = sum(not outcome.ok for outcome in outcomes)
    return Measure("calls", count, len(outcomes), target=0, sense="at most")


def tail(faulty: Sequence[Outcome], calm: Sequence[Outcome]) -> Measure:
    """The p99 of the calls among faults against that of the calm phase."""
    if not faulty or not calm:
        return Measure("ratio", None, target=P99_TARGET, sense="at most")
    target = P99_TARGET if min(len(faulty), len(calm)) >= P99_CALLS else None
    return Measure("ratio", p99_ms(faulty) / p99_ms(calm), len(faulty), target=target, sense="at most")


def middle(unit: str, values: Sequence[float]) -> Measure:
    """The median of a few observations; owed where there are none."""
    return Measure(unit, float(np.median(values)) if values else None, len(values))


def p99_ms(outcomes: Sequence[Outcome]) -> float:
    return float(np.percentile([outcome.seconds for outcome in outcomes], 99)) * 1000


def failures(outcomes: Sequence[Outcome]) -> str:
    """How calls failed, for the notes of a card."""
    counts = Counter(f"{outcome.code} {outcome.reason}" for outcome in outcomes if not outcome.ok)
    return ", ".join(f"{count} x {what}" for what, count in counts.most_common()) or "no call failed"
