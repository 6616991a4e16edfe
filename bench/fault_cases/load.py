"""An open loop of calls: each begins when it is due, whether earlier calls have ended or not.

A closed loop would wait for a slow service and so hide what its callers see.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fovea.contract.errors import FoveaError

Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Outcome:
    """How a call ended, on the clock of `time.monotonic`; `code` is its status, `reason` of its ErrorInfo."""

    number: int
    due: float
    ended: float
    code: str
    reason: str = ""
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        return self.code == "OK"

    @property
    def seconds(self) -> float:
        """From when the call was due, so that a late generator counts against the service."""
        return self.ended - self.due


async def open_loop(
    call: Call, rate: float, seconds: float, stop: asyncio.Event | None = None
) -> list[Outcome]:
    """Begin `rate` calls a second for `seconds`, or until `stop`; `call` gets its number.

    Returns when all have ended.
    """
    begin, outcomes, running = time.monotonic(), list[Outcome](), set[asyncio.Task[None]]()

    async def run(number: int, due: float) -> None:
        outcomes.append(await outcome(call, number, due))

    for number in itertools.count():
        if number >= rate * seconds:
            break
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if stop is not None and stop.is_set():
            break
        task = asyncio.create_task(run(number, due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return outcomes


async def peak(call: Call, seconds: float, at_once: int) -> float:
    """Calls a second of a closed loop that keeps `at_once` calls running. Failures count as well."""
    began, numbers = time.monotonic(), itertools.count()

    async def worker() -> int:
        ended = 0
        while time.monotonic() - began < seconds:
            await outcome(call, next(numbers), time.monotonic())
            ended += 1
        return ended

    ended = sum(await asyncio.gather(*(worker() for _ in range(at_once))))
    return ended / (time.monotonic() - began)


async def outcome(call: Call, number: int, due: float) -> Outcome:
    """Await a call of the Python client. Exceptions other than FoveaError are defects of the case."""
    try:
        await call(number)
    except FoveaError as error:
        code, retry = error.code.name, error.retry_after_s
        return Outcome(number, due, time.monotonic(), code, error.reason, retry)
    return Outcome(number, due, time.monotonic(), "OK")
