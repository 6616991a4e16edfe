"""A long mixed load with cancels, deletions, kills and silences among it.

Memory and file descriptors are those of the processes that live from the beginning to the end: the decoder
and the first encoder. The second encoder is killed and frozen in turns. Memory is anonymous memory, because
the pages of the store's file belong to the page cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.fault_cases import fleet as fleets
from bench.fault_cases.errands import Errands
from bench.fault_cases.fleet import Member
from bench.fault_cases.load import Outcome, open_loop, peak
from bench.fault_cases.process import anonymous_mib, open_files
from bench.fault_cases.questions import Caller
from bench.fault_cases.trial import failures
from bench.host import side
from bench.result import Measure, Result
from bench.runner import Run

SHARE = 0.25
"""Of the peak. Leaves the machine idle for about half of the time, with the restarts."""
AT_ONCE = 4
GROWTH_MIB = 16.0
GROWTH_FILES = 4
SILENT_S = 5.0
QUICK_S = 15.0


@dataclass
class Growth:
    """Samples of a process over time."""

    member: Member
    mib: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)

    def sample(self) -> None:
        self.mib.append(anonymous_mib(self.member.child.pid))
        self.files.append(open_files(self.member.child.pid))


def measure(run: Run) -> Result:
    return asyncio.run(_measure(run))


async def _measure(run: Run) -> Result:
    seconds = QUICK_S if run.quick else run.flags.minutes * 60
    fleet = fleets.start(run, encoders=2, decoders=1)
    growths = [Growth(fleet.decoders[0]), Growth(fleet.encoders[0])]
    async with Caller(fleet.decoders[0].address) as caller:
        errands = Errands(caller, run.seed)
        run.status("taking references")
        await errands.prepare()
        rate = SHARE * await peak(errands.call, run.effort(15.0, 2.0), AT_ONCE)
        outcomes, faults = await _soak(run, errands, fleet.encoders[1], growths, rate, seconds)
    unexpected = sum(not outcome.ok for outcome in outcomes)
    grown = max(growth(each.mib) for each in growths)
    opened = max(growth(each.files) for each in growths)
    return Result(
        config={"minutes": round(seconds / 60, 2), "calls_per_s": round(rate, 2), "faults": faults},
        sides={"ours": side("fovea")},
        measures={
            "unexpected_errors": Measure("calls", unexpected, len(outcomes), target=0, sense="at most"),
            "wrong_answers": Measure("answers", errands.wrong, len(outcomes), target=0, sense="at most"),
            "rss_growth_mib": Measure("MiB", grown, len(growths[0].mib), target=GROWTH_MIB, sense="at most"),
            "files_growth": Measure(
                "files", opened, len(growths[0].files), target=GROWTH_FILES, sense="at most"
            ),
        },
        facts=[f"{seconds / 60:.1f} minutes at {rate:.1f} calls/s, {faults} faults"],
        notes=[
            ", ".join(f"{count} x {kind}" for kind, count in errands.kinds.items()),
            *(
                f"{each.member.launch.name}: {np.median(each.mib):.0f} MiB, {np.median(each.files):.0f} files"
                for each in growths
            ),
            failures(outcomes),
        ],
    )


async def _soak(
    run: Run, errands: Errands, victim: Member, growths: Sequence[Growth], rate: float, seconds: float
) -> tuple[list[Outcome], int]:
    """All outcomes, and the number of faults."""
    began, faults, ended = time.monotonic(), 0, asyncio.Event()

    async def break_things() -> None:
        nonlocal faults
        while not ended.is_set():
            await asyncio.sleep(run.effort(20.0, 2.0))
            faults += 1
            if faults % 2:
                victim.kill()
                await victim.restart()
            else:
                victim.freeze()
                await asyncio.sleep(SILENT_S)
                victim.thaw()

    async def watch() -> None:
        while not ended.is_set():
            for each in growths:
                each.sample()
            minutes = (time.monotonic() - began) / 60
            calls = errands.kinds.total()
            run.status(f"{minutes:.1f} of {seconds / 60:.1f} minutes, {calls} calls, {errands.wrong} wrong")
            await asyncio.sleep(max(0.2, seconds / 600))

    others = [asyncio.create_task(break_things()), asyncio.create_task(watch())]
    try:
        outcomes = await open_loop(errands.call, rate, seconds)
    finally:
        ended.set()
    await asyncio.gather(*others)
    return outcomes, faults


def growth(samples: Sequence[float]) -> float:
    """The median of the last tenth less that of the first."""
    tenth = max(1, len(samples) // 10)
    return float(np.median(samples[-tenth:]) - np.median(samples[:tenth]))
