"""SIGKILL of a decoder loses no record that was written, and doubles none."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from decoder_svc.ledger import queries
from decoder_svc.ledger.database import Database, database_url
from fovea.client import AsyncClient, Format, Sampling, Started
from fovea.contract.errors import FoveaError
from fovea.contract.usage import UsageFilter
from tests.e2e.house import free_address
from tests.e2e.processes import decoder_process

pytestmark = pytest.mark.long
ROUNDS, CALLS = 3, 15
PATIENCE_S = 60.0


def ids(folder: Path) -> list[str]:
    """The request ids in the file, read by this process."""
    database = Database(database_url(folder, ""))
    try:
        with database.reading() as connection:
            return [record.request_id for record in queries.page(connection, UsageFilter(), 1000, "").records]
    finally:
        database.close()


async def test_records_survive_sigkill_once_each(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    process = decoder_process(checkpoint("moe"), tmp_path, free_address(), "127.0.0.1:9")
    sent: list[str] = []
    try:
        for _ in range(ROUNDS):
            process.start()
            await process.until_ready()
            async with AsyncClient(process.address) as client:
                asks = (client.ask("?", sampling=Sampling(max_new_tokens=2)) for _ in range(CALLS))
                sent += [answer.request_id for answer in await asyncio.gather(*asks)]
            async with asyncio.timeout(PATIENCE_S):
                while len(ids(tmp_path / "ledger")) < len(sent):
                    await asyncio.sleep(0.05)
            process.signal(signal.SIGKILL)
            await process.ended()
            assert Counter(ids(tmp_path / "ledger")) == Counter(sent)
    finally:
        process.end()


async def test_records_of_the_last_moment_survive_sigterm(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """A drained decoder writes what waits before it exits."""
    process = decoder_process(checkpoint("moe"), tmp_path, free_address(), "127.0.0.1:9")
    try:
        process.start()
        await process.until_ready()
        async with AsyncClient(process.address) as client:
            answer = await client.ask("?", sampling=Sampling(max_new_tokens=2))
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    finally:
        process.end()
    assert ids(tmp_path / "ledger") == [answer.request_id]


async def test_calls_that_the_end_of_the_decoder_cuts_leave_records(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Without grace, all of them are cut at once, in every stage of their lives."""
    process = decoder_process(checkpoint("moe"), tmp_path, free_address(), "127.0.0.1:9")
    process.flags = (*process.flags, "--grace-s", "0")
    endless = Sampling(max_new_tokens=400, response_format=Format.regex("[ab]{1000}"))
    started = asyncio.Event()

    async def call(client: AsyncClient, request_id: str) -> None:
        with suppress(FoveaError):
            async for event in client.stream("?", sampling=endless, request_id=request_id):
                if isinstance(event, Started):
                    started.set()

    sent = [f"call {number}" for number in range(8)]
    try:
        process.start()
        await process.until_ready()
        async with AsyncClient(process.address) as client:
            calls = [asyncio.create_task(call(client, request_id)) for request_id in sent]
            await started.wait()
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            await asyncio.gather(*calls)
    finally:
        process.end()
    kept = Counter(ids(tmp_path / "ledger"))
    assert kept
    assert set(kept.values()) == {1}
    assert "ledger_records_lost" not in process.log.read_text()
    assert len(kept) == process.log.read_text().count("DecoderService/Generate")
