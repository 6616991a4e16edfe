"""A caller that leaves, or whose deadline passes, costs nothing afterwards: slot, KV blocks, encoder stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from tests.e2e.house import CALL_S, LONG_WINDED, House, request
from tests.e2e.metrics import in_flight, scrape
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(300)
TIMES = 50
PATIENCE_S = 30.0


async def held(house: House) -> dict[str, float]:
    """The resources that a running call holds, as both services report them."""
    info = await house.info()
    encoder, decoder = await scrape(house.encoder_side.metrics), await scrape(house.decoder_side.metrics)
    return {
        "running": info.load.running,
        "waiting": info.load.waiting,
        "kv blocks": info.load.kv_blocks_used,
        "images waiting": info.encoders[0].waiting,
        "images running": info.encoders[0].running,
        "Encode streams": in_flight(encoder, "Encode"),
        "Generate streams": in_flight(decoder, "Generate"),
        "Complete calls": in_flight(decoder, "Complete"),
    }


async def until_free(house: House) -> None:
    """The limit only guards against hanging: cancelling crosses the event loops of two services."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_S
    while any((left := await held(house)).values()):
        assert loop.time() < until, f"still held: {left}"
        await asyncio.sleep(0.05)


async def leave_at_once(house: House, at: int) -> None:
    call = house.decoder.Generate(request("a", [picture(256, 256, seed=1000 + at)], max_new_tokens=200))
    await asyncio.sleep(0.004 * (at % 10))
    call.cancel()


async def leave_at_start(house: House, at: int) -> None:
    """Leaves after the request was accepted, while rows are being sent."""
    call = house.decoder.Generate(request("b", [picture(256, 256, seed=2000 + at)], max_new_tokens=200))
    await call.read()
    await asyncio.sleep(0.004 * (at % 10))
    call.cancel()


async def leave_while_it_speaks(house: House, at: int) -> None:
    call = house.decoder.Generate(request(LONG_WINDED, max_new_tokens=400))
    while (await call.read()).WhichOneof("event") != "delta":
        pass
    call.cancel()


async def let_the_deadline_pass(house: House, at: int) -> None:
    message = request("d", [picture(256, 256, seed=4000 + at)], max_new_tokens=400)
    try:
        async for _ in house.decoder.Generate(message, timeout=0.02 + 0.02 * (at % 10)):
            pass
    except grpc.aio.AioRpcError as error:
        # An early end is fine too, and so is a refusal of what cannot be answered in time.
        ends = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert error.code() in ends  # noqa: PT017


Leave = Callable[[House, int], Awaitable[None]]


@pytest.mark.parametrize(
    "leave", [leave_at_once, leave_at_start, leave_while_it_speaks, let_the_deadline_pass]
)
async def test_leaving_callers_free_their_resources(house: House, leave: Leave) -> None:
    await until_free(house)
    for first in range(0, TIMES, 10):
        await asyncio.gather(*(leave(house, at) for at in range(first, first + 10)))
    await until_free(house)
    answered = await house.ask(request("And now?", [picture(64, 64, seed=5000)], max_new_tokens=4))
    assert answered.token_ids


async def test_a_call_holds_blocks_while_it_runs(house: House) -> None:
    """Guards the tests above: their counters do rise."""
    call = house.decoder.Generate(request(LONG_WINDED, max_new_tokens=400), timeout=CALL_S)
    while (await call.read()).WhichOneof("event") != "delta":
        pass
    busy = await held(house)
    call.cancel()
    assert busy["running"] == 1
    assert busy["kv blocks"] > 0
    assert busy["Generate streams"] == 1
    await until_free(house)


async def test_a_caller_that_left_is_counted_as_cancelled(house: House) -> None:
    from tests.e2e.metrics import calls

    before = calls(await scrape(house.decoder_side.metrics), "Generate", "CANCELLED")
    await leave_while_it_speaks(house, 0)
    await until_free(house)
    assert calls(await scrape(house.decoder_side.metrics), "Generate", "CANCELLED") == before + 1


async def test_a_waiting_caller_may_leave(house: House) -> None:
    """The remaining callers get the image whose encoding the cancelled caller started."""
    message = request("f", [picture(320, 320, seed=7000)], max_new_tokens=4)
    before = await house.encodes()
    leaving = house.decoder.Generate(message)
    await leaving.read()
    staying = asyncio.gather(*(house.ask(message) for _ in range(3)))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert len({tuple(a.token_ids) for a in await staying}) == 1
    assert await house.encodes() - before == 1
