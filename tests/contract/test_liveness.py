"""Both services: a model that hangs turns `liveness` off, and its return turns it on. Dummies leave no trace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decoder_svc.model.text import TextDecoder
from encoder_svc.vision.tower import Tower
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.house import CALL_S, House, request, running
from tests.e2e.metrics import scrape
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)
PATIENCE_S = 60.0
COUNTED = ("_total", "_count", "_sum")
OFTEN = {"liveness_interval_s": 0.02, "liveness_limit_s": 0.2}
COMPUTES: dict[str, tuple[type, str]] = {
    "encoder_side": (Tower, "encode"),
    "decoder_side": (TextDecoder, "forward"),
}


class Gate:
    """Counts the calls of a method, and blocks them while it is closed."""

    def __init__(self, kind: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.open = threading.Event()
        self.open.set()
        compute = getattr(kind, name)

        def gated(*args: Any, **options: Any) -> Any:
            self.calls += 1
            assert self.open.wait(PATIENCE_S)
            return compute(*args, **options)

        monkeypatch.setattr(kind, name, gated)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("liveness")
    async with running(checkpoint("moe"), folder, encoder_changes=OFTEN, decoder_changes=OFTEN) as both:
        yield both


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("side", COMPUTES)
async def test_a_model_that_hangs_is_not_alive_until_it_computes_again(
    house: House, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, service = Gate(*COMPUTES[side], monkeypatch), getattr(house, side)
    await until(lambda: _is(service.health("liveness"), "SERVING"))
    gate.open.clear()
    try:
        await until(lambda: _is(service.health("liveness"), "NOT_SERVING"))
    finally:
        gate.open.set()
    await until(lambda: _is(service.health("liveness"), "SERVING"))


async def _is(status: Awaitable[str], expected: str) -> bool:
    return await status == expected


@pytest.mark.parametrize("side", COMPUTES)
async def test_dummies_run_while_nothing_else_does_and_leave_no_trace(
    house: House, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No figure of either service counts them: statistics, counters, load, stored records."""
    answered = await house.ask(request("?", [picture(64, 64, seed=1)], max_new_tokens=2))
    await until(lambda: _stored(house))
    before = await _figures(house)
    gate = Gate(*COMPUTES[side], monkeypatch)
    await until(lambda: _reached(gate, 3))
    assert await _figures(house) == before
    again = await house.ask(request("?", [picture(64, 64, seed=1)], max_new_tokens=2))
    assert again.token_ids == answered.token_ids


async def _reached(gate: Gate, calls: int) -> bool:
    return gate.calls >= calls


async def _stored(house: House) -> bool:
    """Rows are stored after they were sent."""
    return bool((await house.stats()).records)


async def _figures(house: House) -> tuple[object, ...]:
    """What both services count, but for their calls, their processes and what the ledger writes later."""
    info = await house.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    decoder = await house.decoder.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    samples = [await scrape(service.metrics) for service in (house.encoder_side, house.decoder_side)]
    counters = [
        {
            key: value
            for key, value in each.items()
            if key[0].startswith("fovea_") and key[0].endswith(COUNTED) and "_ledger_" not in key[0]
        }
        for each in samples
    ]
    assert all(counters)
    load = decoder.load.running, decoder.load.waiting
    return info.load, load, await house.stats(), counters
