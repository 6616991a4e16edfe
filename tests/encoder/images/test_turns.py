"""Decode workers are shared fairly: a tenant's flood of images delays another tenant by an image at most."""

from __future__ import annotations

import asyncio

from encoder_svc.images.decoder import Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.turns import WorkerTurns
from fovea.nursery.limits import ChildLimits
from tests.decoder.native_engine.harness import until
from tests.encoder.images.test_decoder import FAULTY, GOOD, children, key

MIB = 1024 * 1024


class Stage:
    """Images that hold their workers until they are told to end."""

    def __init__(self, workers: int, several_tenants: bool = True) -> None:
        self.turns = WorkerTurns(workers, several_tenants)
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def decode(self, name: str, tenant: str, cost: int = MIB) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, tenant, cost))

    async def _hold(self, name: str, tenant: str, cost: int) -> None:
        async with self.turns.turn(tenant, cost):
            self.begun.append(name)
            await self.ends[name].wait()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settled()

    async def close(self) -> None:
        for end in self.ends.values():
            end.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_tenant_never_has_every_worker() -> None:
    stage = Stage(workers=3)
    for number in range(5):
        stage.decode(f"flood {number}", "flood")
    await settled()
    assert stage.begun == ["flood 0", "flood 1"]
    stage.decode("other", "other")
    await settled()
    assert stage.begun[2:] == ["other"]
    await stage.close()


async def test_without_tokens_a_caller_has_every_worker() -> None:
    stage = Stage(workers=3, several_tenants=False)
    for number in range(5):
        stage.decode(f"flood {number}", "flood")
    await settled()
    assert len(stage.begun) == 3
    await stage.close()


async def test_waiting_tenants_take_turns_by_the_bytes_of_their_images() -> None:
    """`large` has images of four times the bytes, so `small` has four turns for each of its turns."""
    stage = Stage(workers=1)
    stage.decode("first", "first")
    await settled()
    for number in range(12):
        stage.decode(f"large {number}", "large", 4 * MIB)
        stage.decode(f"small {number}", "small", MIB)
    for turn in range(10):
        await stage.end(stage.begun[turn])
    counts = [sum(name.startswith(tenant) for name in stage.begun[1:11]) for tenant in ("large", "small")]
    assert counts == [2, 8]
    await stage.close()


async def test_a_caller_that_leaves_gives_its_place_or_its_worker_to_the_next() -> None:
    stage = Stage(workers=1)
    for name in ("first", "second", "third"):
        stage.decode(name, "t")
    await settled()
    stage.tasks["second"].cancel()
    stage.tasks["first"].cancel()
    await asyncio.gather(stage.tasks["first"], stage.tasks["second"], return_exceptions=True)
    await settled()
    assert stage.begun == ["first", "third"]
    await stage.end("third")
    assert (stage.turns._free, dict(stage.turns._running), len(stage.turns._queue)) == (1, {}, 0)


async def test_images_that_never_end_leave_a_worker_to_other_tenants() -> None:
    decoder = Decoder(ImageLimits(), ChildLimits(600, 1 << 30), 2, FAULTY, several_tenants=True)
    try:
        loops = [
            asyncio.create_task(decoder.facts(key(b"LOOP" + end), b"LOOP" + end)) for end in (b"", b" 1")
        ]
        await until(lambda: bool(children(decoder.nursery_pid)), seconds=60)
        async with asyncio.timeout(60):
            assert (await decoder.facts(key(GOOD, "other"), GOOD)).format == "PNG"
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    finally:
        decoder.close()
