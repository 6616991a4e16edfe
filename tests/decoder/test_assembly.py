"""The assembly of several engines: the process lives while all of them do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from decoder_svc.app import _first_death
from decoder_svc.engine.protocol import Engine
from fovea.contract.errors import EngineFailed, FoveaError
from fovea.server.liveness import together


class Mortal:
    """An engine that dies when told to."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def died(self) -> FoveaError:
        await self.end.wait()
        return EngineFailed("the engine died")


async def test_the_death_of_any_engine_ends_the_process() -> None:
    for dying in (0, 1):
        engines = [Mortal(), Mortal()]
        death = asyncio.ensure_future(_first_death(cast("list[Engine]", engines)))
        await asyncio.sleep(0)
        assert not death.done()
        engines[dying].end.set()
        assert isinstance(await death, EngineFailed)


def test_a_process_is_alive_while_every_model_computes() -> None:
    heard: list[Any] = []
    first, second = together(2, heard.append)
    for report, value in ((first, True), (second, False), (first, True), (second, True), (first, False)):
        report(value)
    assert heard == [True, False, False, True, False]
