"""Rows go out while the store still copies them, and damage that is found on the way is mended."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from encoder_svc.arriving import Arriving
from encoder_svc.store.core import Grown, Rows
from encoder_svc.store.errors import StoreFailed
from fovea.rows import RowDtype, RowLayout, digest

LAYOUT = RowLayout(2, 0, RowDtype.FP32)  # rows of 8 bytes
SIZE = 4 * LAYOUT.row_bytes
STORED, FRESH = bytes(range(SIZE)), bytes(range(100, 100 + SIZE))


def rows(data: bytes) -> Rows:
    return Rows(memoryview(bytearray(data)), LAYOUT, (1, 4, 4), digest(data))


class SlowStore:
    """Copies the first row, then waits for `go`, then the rest; or finds it damaged."""

    def __init__(self, damaged: bool = False) -> None:
        self.go = threading.Event()
        self.damaged = damaged

    def get(self, grown: Grown) -> Rows | None:
        made = rows(STORED)
        made.data[8:] = bytes(SIZE - 8)
        grown(made, 8)
        if not self.go.wait(10):
            raise RuntimeError("the test never let the copy go on")
        if self.damaged:
            return None
        made.data[8:] = STORED[8:]
        grown(replace(made), SIZE)
        return replace(made, data=made.data.toreadonly())


async def never() -> Rows:
    raise AssertionError("nothing had to be computed again")


async def test_the_first_rows_are_there_before_the_last() -> None:
    store = SlowStore()
    arriving = Arriving(never)
    begun = await arriving.begin(store.get)
    assert begun is not None
    assert begun is arriving.rows
    await arriving.upto(8)
    assert bytes(begun.data[:8]) == STORED[:8]
    rest = asyncio.create_task(arriving.upto(SIZE))
    await asyncio.sleep(0.02)
    assert not rest.done()
    store.go.set()
    async with asyncio.timeout(10):
        await rest
        assert (await arriving.whole())[0] == digest(STORED)
    assert bytes(begun.data) == STORED


async def test_what_turns_out_to_be_damaged_is_computed_again() -> None:
    store = SlowStore(damaged=True)

    async def again() -> Rows:
        return rows(FRESH)

    arriving = Arriving(again)
    begun = await arriving.begin(store.get)
    assert begun is not None
    store.go.set()
    async with asyncio.timeout(10):
        await arriving.upto(16)
        told, _ = await arriving.whole()
    assert bytes(begun.data) == STORED[:8] + FRESH[8:]
    assert told == digest(STORED[:8] + FRESH[8:])


@pytest.mark.parametrize("found", [rows(STORED), None])
async def test_what_is_copied_at_once_is_there_at_once(found: Rows | None) -> None:
    arriving = Arriving(never)
    assert await arriving.begin(lambda grown: found) is found
    await arriving.upto(SIZE)
    assert (await arriving.whole())[0] == (digest(STORED) if found else "")


async def test_a_failure_of_computing_again_reaches_the_caller() -> None:
    store = SlowStore(damaged=True)

    async def again() -> Rows:
        raise RuntimeError("the upload is gone")

    arriving = Arriving(again)
    await arriving.begin(store.get)
    store.go.set()
    with pytest.raises(RuntimeError, match="gone"):
        await arriving.whole()


async def test_rows_that_stand_in_other_places_are_not_joined_with_those_that_have_gone_out() -> None:
    store = SlowStore(damaged=True)

    async def again() -> Rows:
        return replace(rows(FRESH), kept=(0, 1, 2, 5))

    arriving = Arriving(again)
    await arriving.begin(store.get)
    store.go.set()
    with pytest.raises(StoreFailed, match="ask again"):
        await arriving.whole()


async def test_a_failure_of_the_store_reaches_the_caller() -> None:
    def closed(grown: Grown) -> Rows:
        raise StoreFailed("the disk is gone")

    with pytest.raises(StoreFailed, match="gone"):
        await Arriving(never).begin(closed)


async def test_a_copy_that_has_not_begun_is_given_up_with_its_caller() -> None:
    """The one thread of the pool is busy when the call comes, and the call leaves before it is free."""
    busy, copied = threading.Event(), threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    blocking = asyncio.create_task(asyncio.to_thread(busy.wait, 10))
    arriving = Arriving(never)
    call = asyncio.create_task(arriving.begin(lambda grown: copied.set()))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    busy.set()
    await blocking
    await asyncio.to_thread(lambda: None)  # behind whatever was in the queue
    assert not copied.is_set()
