"""Liveness: real work is the proof, else a dummy; what hangs beyond the limit is not alive until it works again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fovea.contract.errors import EncoderBusy
from fovea.server import liveness
from fovea.server.liveness import Liveness

NEVER_S, SOON_S, PATIENCE_S = 3600.0, 0.01, 30.0


class Model:
    """What a service computes: dummies end while `works` is set."""

    def __init__(self) -> None:
        self.progress = 0
        self.dummies = 0
        self.refusals = 0
        self.works = asyncio.Event()
        self.reports: list[bool] = []

    async def dummy(self) -> None:
        self.dummies += 1
        if self.refusals:
            self.refusals -= 1
            raise EncoderBusy("max_queue", 1, 2, 1.0)
        await self.works.wait()
        self.progress += 1

    def watched(self, limit_s: float = NEVER_S, interval_s: float = NEVER_S) -> Liveness:
        return Liveness(lambda: self.progress, self.dummy, interval_s, limit_s, self.reports.append)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_real_work_is_the_proof_and_spares_the_dummy() -> None:
    model = Model()  # whose dummy would hang
    watched = model.watched()
    for _ in range(3):
        model.progress += 1
        assert await watched.check()
    assert model.dummies == 0


async def test_an_idle_model_runs_a_dummy_at_every_check() -> None:
    """The progress that a dummy makes spares no later dummy."""
    model = Model()
    model.works.set()
    watched = model.watched()
    assert [await watched.check() for _ in range(3)] == [True] * 3
    assert model.dummies == 3


async def test_a_model_that_hangs_is_not_alive_until_its_dummy_ends() -> None:
    model = Model()
    watched = model.watched(limit_s=SOON_S)
    assert not await watched.check()
    assert not await watched.check()
    assert model.dummies == 1, "a dummy that hangs is not joined by others"
    model.works.set()
    await until(lambda: model.progress == 1)
    assert await watched.check()
    assert model.reports == [False, False, True]


async def test_progress_while_a_dummy_waits_is_a_proof() -> None:
    model = Model()
    watched = model.watched(limit_s=SOON_S)
    check = asyncio.create_task(watched.check())
    await until(lambda: model.dummies == 1)
    model.progress += 1
    assert await check


async def test_the_end_of_an_earlier_dummy_proves_nothing_now() -> None:
    model = Model()
    watched = model.watched(limit_s=SOON_S)
    assert not await watched.check()
    model.works.set()
    await until(lambda: model.progress == 1)
    assert await watched.check()
    model.works.clear()
    assert not await watched.check()


async def test_a_refused_dummy_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "RETRY_S", 0.0)
    model = Model()
    model.works.set()
    model.refusals = 2
    assert await model.watched().check()
    assert model.dummies == 3


async def test_a_dummy_that_breaks_is_no_proof() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    assert not await Liveness(lambda: 0, broken, NEVER_S, NEVER_S, lambda alive: None).check()


@pytest.mark.parametrize(("interval_s", "checked"), [(0.001, True), (0.0, False)])
async def test_checks_repeat_and_an_interval_of_0_turns_them_off(interval_s: float, checked: bool) -> None:
    model = Model()
    model.works.set()
    async with model.watched(interval_s=interval_s).watched():
        if checked:
            await until(lambda: len(model.reports) >= 3)
        else:
            await asyncio.sleep(0.01)
    assert bool(model.dummies) is checked
