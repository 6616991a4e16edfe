"""Concurrent callers share a computation, and its result is served from memory until it is written."""

from __future__ import annotations

import asyncio

from encoder_svc.single_flight import SingleFlight


class Work:
    """A computation and a write that wait for their events. `stored` has what was written."""

    def __init__(self) -> None:
        self.compute_gate, self.write_gate = asyncio.Event(), asyncio.Event()
        self.computed = 0
        self.stored: list[int] = []
        self.failure: Exception | None = None

    async def compute(self) -> int:
        self.computed += 1
        await self.compute_gate.wait()
        if self.failure:
            raise self.failure
        return self.computed

    async def write(self, result: int) -> None:
        await self.write_gate.wait()
        self.stored.append(result)

    async def read(self) -> int | None:
        return self.stored[-1] if self.stored else None


async def test_concurrent_callers_share_a_computation_and_its_write() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    calls = [flight.join(key, work.compute, work.write) for key in ("key", "key", "other key")]
    work.compute_gate.set()
    work.write_gate.set()
    assert await asyncio.gather(*calls) == [(1, True), (1, False), (2, True)]
    await flight.written()
    assert (work.computed, len(work.stored), len(flight)) == (2, 2, 0)


async def test_a_result_is_served_from_memory_until_it_is_written() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.compute_gate.set()
    assert await flight.find("key", work.read) is None
    result, _ = await flight.join("key", work.compute, work.write)
    assert await flight.find("key", work.read) == flight.unwritten("key") == result
    assert work.stored == []
    work.write_gate.set()
    await flight.written()
    assert "key" not in flight
    assert flight.unwritten("key") is None
    assert await flight.find("key", work.read) == result


async def test_a_computation_that_starts_during_a_read_is_joined() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.compute_gate.set()

    async def miss() -> None:
        calls.append(asyncio.create_task(flight.join("key", work.compute, work.write)))
        await asyncio.sleep(0)

    calls: list[asyncio.Task[tuple[int, bool]]] = []
    assert await flight.find("key", miss) == 1


async def test_a_failure_reaches_all_callers_and_the_next_call_computes_again() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.failure = RuntimeError("no result")
    work.compute_gate.set()
    calls = (flight.join("key", work.compute, work.write) for _ in range(2))
    assert await asyncio.gather(*calls, return_exceptions=True) == [work.failure] * 2
    work.failure = None
    work.write_gate.set()
    assert await flight.join("key", work.compute, work.write) == (2, True)
    await flight.written()
    assert (work.stored, len(flight)) == ([2], 0)


async def leave(*calls: asyncio.Task[tuple[int, bool]]) -> None:
    """Cancel `calls` once they have joined."""
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    assert all(
        isinstance(error, asyncio.CancelledError)
        for error in await asyncio.gather(*calls, return_exceptions=True)
    )


async def test_a_caller_that_is_cancelled_leaves_the_computation_to_the_others() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    leaves, stays = (
        asyncio.create_task(flight.join("key", work.compute, work.write, may_stop=lambda: True))
        for _ in range(2)
    )
    await leave(leaves)
    work.compute_gate.set()
    assert await stays == (1, True), "the first that receives it"


async def test_a_computation_without_callers_runs_on() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.write_gate.set()
    await leave(asyncio.create_task(flight.join("key", work.compute, work.write)))
    work.compute_gate.set()
    assert await flight.join("key", work.compute, work.write) == (1, True)
    await flight.written()
    assert work.stored == [1]


async def test_a_computation_without_callers_stops_if_it_may() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    await leave(
        *(
            asyncio.create_task(flight.join("key", work.compute, work.write, may_stop=lambda: True))
            for _ in range(2)
        )
    )
    assert "key" not in flight
    work.compute_gate.set()
    assert await flight.join("key", work.compute, work.write) == (2, True)
    await asyncio.sleep(0)
    assert "key" in flight, "the end of the stopped computation does not remove the next"
