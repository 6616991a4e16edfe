"""Concurrent callers share a computation, and its result is served from memory until it is written."""

from __future__ import annotations

import asyncio

import pytest

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
    first, second = (flight.join("key", work.compute, work.write) for _ in range(2))
    other = flight.join("other key", work.compute, work.write)
    work.compute_gate.set()
    work.write_gate.set()
    await asyncio.gather(first, other)
    await flight.written()
    assert first is second
    assert (work.computed, len(work.stored), len(flight)) == (2, 2, 0)


async def test_a_result_is_served_from_memory_until_it_is_written() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.compute_gate.set()
    assert await flight.find("key", work.read) is None
    result = await flight.join("key", work.compute, work.write)
    assert await flight.find("key", work.read) == result
    assert work.stored == []
    work.write_gate.set()
    await flight.written()
    assert "key" not in flight
    assert await flight.find("key", work.read) == result


async def test_a_computation_that_starts_during_a_read_is_joined() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.compute_gate.set()

    async def miss() -> None:
        flight.join("key", work.compute, work.write)

    assert await flight.find("key", miss) == 1


async def test_a_failure_reaches_all_callers_and_the_next_call_computes_again() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    work.failure = RuntimeError("no result")
    work.compute_gate.set()
    calls = (asyncio.shield(flight.join("key", work.compute, work.write)) for _ in range(2))
    assert await asyncio.gather(*calls, return_exceptions=True) == [work.failure] * 2
    await flight.written()
    assert (work.stored, len(flight)) == ([], 0)
    work.failure = None
    assert await flight.join("key", work.compute, work.write) == 2


async def test_a_caller_that_is_cancelled_leaves_the_computation_to_the_others() -> None:
    work, flight = Work(), SingleFlight[str, int]()
    computation = flight.join("key", work.compute, work.write)
    caller = asyncio.create_task(flight.find("key", work.read))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    work.compute_gate.set()
    assert await computation == 1
