"""`kill -9` of the only decoder while callers wait for answers and read streams.

Each caller must learn of it within a second. The encoder's cache must be whole afterwards: the rows of every
picture are those from before and are not computed again, and a restarted decoder answers as before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.fault_cases import fleet as fleets
from bench.fault_cases.fleet import Fleet
from bench.fault_cases.load import Outcome, outcome
from bench.fault_cases.questions import Caller, Question, Questions, Reply
from bench.fault_cases.trial import middle
from bench.host import side
from bench.result import Measure, Result
from bench.runner import Run
from fovea.client import AsyncEncoderClient
from fovea.client.values import Rows

LEARNED_MS = 1000.0
RUNNING = 24
"""Calls that run when the decoder is killed; as many begin right after."""
UPLOADS = 4
"""Uploads that never end, so that some calls certainly run."""
LONG_ANSWER = 400


def measure(run: Run) -> Result:
    return asyncio.run(_measure(run))


async def _measure(run: Run) -> Result:
    kills = run.effort(10, 1)
    fleet = fleets.start(run, encoders=1, decoders=1)
    questions = Questions(run.seed)
    asked = [questions[number] for number in range(RUNNING)]
    endings: list[tuple[Outcome, float]] = []
    changed, computed, wrong, restarts_ms = 0, 0, 0, list[float]()
    async with AsyncEncoderClient(fleet.encoders[0].address) as encoder:
        before = await _answers(fleet, questions, asked)
        rows = [await encoder.encode(question.digest) for question in asked]
        for number in range(kills):
            run.status(f"kill {number + 1} of {kills}")
            encodes = await _encodes(encoder)
            endings += await _kill(fleet, asked)
            again = [await encoder.encode(question.digest) for question in asked]
            changed += sum(_differ(*pair) for pair in zip(again, rows, strict=True))
            began = time.monotonic()
            await fleet.decoders[0].restart()
            restarts_ms.append((time.monotonic() - began) * 1000)
            after = await _answers(fleet, questions, asked)
            wrong += sum(reply.differs(first) for reply, first in zip(after, before, strict=True))
            computed += await _encodes(encoder) - encodes
    refusals = [
        (ended.ended - max(killed, ended.due)) * 1000
        for ended, killed in endings
        if ended.code == "UNAVAILABLE"
    ]
    cut_off = sum(ended.due < killed and ended.code == "UNAVAILABLE" for ended, killed in endings)
    others = sum(ended.code not in ("UNAVAILABLE", "OK") for ended, _ in endings)
    count = kills * len(asked)
    return Result(
        config={"kills": kills, "running": RUNNING},
        sides={"ours": side("fovea")},
        measures={
            "refusal_ms": Measure(
                "ms", max(refusals, default=None), len(refusals), target=LEARNED_MS, sense="at most"
            ),
            "cut_off": Measure("calls", cut_off, len(endings), target=kills * UPLOADS),
            "other_errors": Measure("calls", others, len(endings), target=0, sense="at most"),
            "wrong_rows": Measure("pictures", changed, count, target=0, sense="at most"),
            "computed_again": Measure("pictures", computed, count, target=0, sense="at most"),
            "wrong_answers": Measure("answers", wrong, count, target=0, sense="at most"),
            "recovery_ms": middle("ms", restarts_ms),
        },
        facts=[f"{kills} kills with {RUNNING} calls running"],
    )


async def _answers(fleet: Fleet, questions: Questions, asked: list[Question]) -> list[Reply]:
    async with Caller(fleet.decoders[0].address) as caller:
        for data in questions.known:
            await caller.put(data)
        return [await caller.ask(question) for question in asked]


async def _kill(fleet: Fleet, asked: list[Question]) -> list[tuple[Outcome, float]]:
    """How the calls ended that ran when the decoder was killed, or began right after, with the time of the
    kill.
    """
    decoder, half = fleet.decoders[0], len(asked) // 2
    async with Caller(decoder.address) as caller:

        def begin(call: Callable[[int], Awaitable[object]], count: int) -> list[asyncio.Task[Outcome]]:
            return [asyncio.create_task(outcome(call, at, time.monotonic())) for at in range(count)]

        running = begin(lambda at: caller.stream(asked[at], LONG_ANSWER), half)
        running += begin(lambda at: caller.ask(asked[half + at]), half)
        running += begin(lambda at: caller.endless_upload(), UPLOADS)
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        killed = time.monotonic()
        decoder.kill()
        late = begin(lambda at: caller.ask(asked[at]), half)
        return [(ended, killed) for ended in await asyncio.gather(*running, *late)]


async def _encodes(encoder: AsyncEncoderClient) -> int:
    return int((await encoder.info()).load["encodes"])


def _differ(rows: Rows, before: Rows) -> bool:
    return rows.data != before.data or rows.rows_digest != before.rows_digest
