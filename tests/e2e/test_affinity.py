"""Clients of two decoders: prefix hits, a decoder that drains, a decoder that dies."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fovea.client import AsyncClient, Sampling
from fovea.client.errors import Unreachable
from fovea.rendezvous import owner
from tests.e2e.house import House, decoder, digest_of, free_address
from tests.e2e.pictures import picture
from tests.e2e.processes import Process, decoder_process

SHORT = Sampling(max_new_tokens=4)
CALLERS = 8


class Load:
    """Callers that ask about pictures in turn until they are told to stop. A call that fails ends the test at
    once, unless a part of its answer had arrived: then it counts as broken.
    """

    def __init__(self, client: AsyncClient, digests: Sequence[str]) -> None:
        self.answers = self.broken = 0
        self._client = client
        self._digests = itertools.cycle(digests)
        self._stopped = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(self._call())
            try:
                yield
            finally:
                self._stopped = True

    async def _call(self) -> None:
        while not self._stopped:
            heard: list[str] = []
            try:
                digest = next(self._digests)
                await self._client.ask("What is it?", [digest], sampling=SHORT, on_text=heard.append)
            except Unreachable:
                if not heard:
                    raise
                self.broken += 1
            else:
                self.answers += 1

    async def more(self, count: int) -> None:
        """Wait for so many answers from now on."""
        wanted = self.answers + count
        async with asyncio.timeout(120):
            while self.answers < wanted:
                await asyncio.sleep(0.02)


async def stored(client: AsyncClient, addresses: Sequence[str], seed: int) -> list[str]:
    """The ids of stored pictures, four of each decoder."""
    pictures = [picture(seed=seed + number) for number in range(64)]
    digests: list[str] = []
    for address in addresses:
        own = [file for file in pictures if owner(digest_of(file), addresses) == address]
        digests += [(await client.put(file)).facts.digest for file in own[:4]]
    return digests


async def test_every_second_question_about_an_image_is_a_prefix_hit_and_a_drain_fails_no_call(
    house: House, checkpoint: Callable[[str], Path]
) -> None:
    encoders = [house.encoder_side.address]
    services = [decoder(checkpoint("moe"), encoders, prefix_cache=True, grace_s=60.0) for _ in range(2)]
    addresses = [service.address for service in services]
    try:
        for service in services:
            await service.until_ready()
        async with AsyncClient(",".join(addresses)) as client:
            digests = await stored(client, addresses, seed=9800)
            for question in ("What is it?", "And where?"):
                for digest in digests:
                    totals = (await client.ask(question, [digest], sampling=SHORT)).receipt.totals
                    hit = totals.cached_prompt_tokens >= totals.visual_tokens
                    assert hit == (question == "And where?")
            load = Load(client, digests)
            async with load.running():
                await load.more(CALLERS)
                await services[0].stop()
                await load.more(2 * CALLERS)
            assert load.broken == 0
    finally:
        for service in services:
            await service.stop()


@pytest.mark.long
async def test_a_decoder_that_is_killed_under_load_fails_only_answers_that_had_begun_and_gets_its_images_back(
    house: House, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    processes: list[Process] = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        encoder = house.encoder_side.address
        processes.append(decoder_process(checkpoint("moe"), tmp_path / name, free_address(), encoder))
    addresses = [process.address for process in processes]
    try:
        for process in processes:
            process.start()
        for process in processes:
            await process.until_ready()
        async with AsyncClient(",".join(addresses)) as client, AsyncClient(addresses[0]) as first:
            digests = await stored(client, addresses, seed=9900)
            load = Load(client, digests)
            async with load.running():
                await load.more(2 * CALLERS)
                processes[0].signal(signal.SIGKILL)
                await processes[0].ended()
                await load.more(4 * CALLERS)
                processes[0].start()
                await processes[0].until_ready()
                async with asyncio.timeout(120):
                    while not (await first.info()).load["kv_blocks_used"]:
                        await asyncio.sleep(0.01)
            assert load.broken <= CALLERS
    finally:
        for process in processes:
            process.end()
