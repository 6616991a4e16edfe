"""`kill -9` of one of two encoders under load, then of the other as soon as both serve again."""

from __future__ import annotations

import asyncio
import itertools
import time

from bench.fault_cases import fleet as fleets
from bench.fault_cases.questions import Caller, Questions
from bench.fault_cases.trial import Trial, during, failed, failures, middle, p99_ms, tail, wrong_answers
from bench.host import side
from bench.result import Result
from bench.runner import Run


def measure(run: Run) -> Result:
    return asyncio.run(_measure(run))


async def _measure(run: Run) -> Result:
    kills, recoveries_ms = run.effort(20, 2), list[float]()
    fleet = fleets.start(run, encoders=2, decoders=1)

    async def kill_in_turns() -> None:
        for number, encoder in zip(range(kills), itertools.cycle(fleet.encoders), strict=False):
            run.status(f"kill {number + 1} of {kills}")
            killed = time.monotonic()
            encoder.kill()
            await encoder.restart()
            recoveries_ms.append((time.monotonic() - killed) * 1000)

    async with Caller(fleet.decoders[0].address) as caller:
        trial = Trial(caller, Questions(run.seed))
        await trial.prepare(run)
        run.status("no kills")
        calm = await trial.calm(run.effort(60.0, 4.0))
        (faulty,) = await during(kill_in_turns, trial)
    wrong = await wrong_answers(run, trial)
    outcomes = [*calm, *faulty]
    measures = {
        "lost": failed(outcomes),
        "p99_ratio": tail(faulty, calm),
        "wrong_answers": wrong,
        "recovery_ms": middle("ms", recoveries_ms),
    }
    return Result(
        config={"kills": kills, "calls_per_s": round(trial.rate, 2), "encoders": 2, "decoders": 1},
        sides={"ours": side("fovea")},
        measures=measures,
        facts=[f"{kills} kills at {trial.rate:.1f} calls/s"],
        notes=[f"p99 {p99_ms(calm):.0f} ms without kills, {p99_ms(faulty):.0f} ms with", failures(outcomes)],
    )
