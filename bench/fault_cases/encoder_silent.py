"""SIGSTOP of one of two encoders under load: it keeps its connections, and answers nothing.

Calls that run while a silence is not yet detected are left out of `p99_ratio`: the target is that of the calls
after the detection.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from bench.fault_cases import fleet as fleets
from bench.fault_cases.fleet import POLL_S, Member
from bench.fault_cases.load import Outcome
from bench.fault_cases.questions import Caller, Questions
from bench.fault_cases.trial import Trial, during, failed, failures, middle, p99_ms, tail, wrong_answers
from bench.host import side
from bench.result import Result
from bench.runner import Run

PAUSE_S = 3.0
"""Between two silences, once the encoder is called again."""
DETECTED_S = 30.0
Silence = tuple[float, float]
"""When an encoder fell silent, and when the decoder stopped calling it."""


def measure(run: Run) -> Result:
    return asyncio.run(_measure(run))


async def _measure(run: Run) -> Result:
    times, silent_s = run.effort(10, 1), run.effort(20.0, 8.0)
    silences: list[Silence] = []
    fleet = fleets.start(run, encoders=2, decoders=1)

    async def silence_in_turns() -> None:
        for number, encoder in zip(range(times), itertools.cycle(fleet.encoders), strict=False):
            run.status(f"silence {number + 1} of {times}")
            silences.append(await _silence(fleet.decoders[0], encoder, silent_s))
            await asyncio.sleep(PAUSE_S)

    async with Caller(fleet.decoders[0].address) as caller:
        trial = Trial(caller, Questions(run.seed))
        await trial.prepare(run)
        run.status("no silence")
        calm = await trial.calm(run.effort(60.0, 4.0))
        (faulty,) = await during(silence_in_turns, trial)
    wrong = await wrong_answers(run, trial)
    outcomes, after = [*calm, *faulty], detected(faulty, silences)
    detection_ms = [(noticed - began) * 1000 for began, noticed in silences]
    return Result(
        config={"silences": times, "silent_s": silent_s, "calls_per_s": round(trial.rate, 2)},
        sides={"ours": side("fovea")},
        measures={
            "lost": failed(outcomes),
            "p99_ratio": tail(after, calm),
            "wrong_answers": wrong,
            "detection_ms": middle("ms", detection_ms),
        },
        facts=[f"{times} silences of {silent_s:g} s at {trial.rate:.1f} calls/s"],
        notes=[
            f"p99 {p99_ms(calm):.0f} ms without silence, {p99_ms(after):.0f} ms after its detection",
            f"the slowest call took {max(outcome.seconds for outcome in faulty):.1f} s",
            failures(outcomes),
        ],
    )


async def _silence(decoder: Member, encoder: Member, seconds: float) -> Silence:
    """Freeze an encoder for `seconds`, then wait until the decoder calls it again."""
    encoder.freeze()
    try:
        began = time.monotonic()
        await _until(decoder, encoder, up=False)
        noticed = time.monotonic()
        await asyncio.sleep(began + seconds - time.monotonic())
    finally:
        encoder.thaw()
    await _until(decoder, encoder, up=True)
    return began, noticed


async def _until(decoder: Member, encoder: Member, up: bool) -> None:
    async with asyncio.timeout(DETECTED_S):
        while await decoder.encoder_up(encoder) is not up:  # noqa: ASYNC110  metrics signal no event
            await asyncio.sleep(POLL_S)


def detected(outcomes: list[Outcome], silences: list[Silence]) -> list[Outcome]:
    """The calls that did not run at any time between the beginning of a silence and its detection."""
    return [
        call for call in outcomes if not any(began < call.ended and call.due < end for began, end in silences)
    ]
