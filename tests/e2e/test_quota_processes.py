"""Two decoder processes on one PostgreSQL hold a tenant's budget, and what a killed one had reserved comes back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from bench.postgres import PostgresServer
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.tables import quota_days, reservations
from fovea.client import AsyncClient, Format, Sampling, Started, errors
from fovea.contract.errors import FoveaError, QuotaExceeded
from tests.e2e.house import free_address
from tests.e2e.processes import Process, decoder_process

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
LIMIT, CALLERS, TOKENS = 1_500, 64, 8
PATIENCE_S = 120.0
ENDLESS = Sampling(max_new_tokens=300, response_format=Format.regex("[ab]{1000}"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.1)


class Day:
    """What the database says that tenants have spent and reserved."""

    def __init__(self, url: str) -> None:
        self.database = Database(database_url(Path(), url))

    def sums(self) -> tuple[int, int]:
        """Tokens spent and reserved."""
        with self.database.reading() as connection:
            columns = (func.sum(quota_days.c.tokens), func.sum(quota_days.c.reserved_tokens))
            spent, reserved = connection.execute(select(*columns)).one()
        return int(spent or 0), int(reserved or 0)

    def expire(self) -> None:
        """End all leases, as if a minute had passed since they were renewed."""
        with self.database.writing() as connection:
            connection.execute(update(reservations).values(expires=time.time() - 1))


def decoders(model: Path, folder: Path, url: str) -> list[Process]:
    processes = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        process = decoder_process(model, folder / name, free_address(), "127.0.0.1:9")
        process.flags = (*process.flags, "--ledger-url", url, "--quota-tokens-per-day", str(LIMIT))
        processes.append(process)
    return processes


async def spend(address: str, spent: list[int], day: Day) -> None:
    """Ask until the quota refuses although nothing is reserved."""
    async with AsyncClient(address) as client:
        settled = False
        while True:
            try:
                answer = await client.ask("?", sampling=Sampling(max_new_tokens=TOKENS))
            except QuotaExceeded:
                if settled:
                    return
                await asyncio.sleep(0.5)
                settled = day.sums()[1] == 0
            else:
                settled = False
                totals = answer.receipt.totals
                spent.append(totals.text_tokens + totals.output_tokens)


async def test_two_processes_never_exceed_a_budget_and_leave_nothing_reserved(
    checkpoint: Callable[[str], Path], server: PostgresServer, tmp_path: Path
) -> None:
    url, spent = server.new_database(), list[int]()
    both = decoders(checkpoint("moe"), tmp_path, url)
    day = Day(url)
    try:
        for process in both:
            process.start()
        for process in both:
            await process.until_ready()
        await asyncio.gather(*(spend(both[number % 2].address, spent, day) for number in range(CALLERS)))
        assert 0.9 * LIMIT < sum(spent) <= LIMIT
        await until(lambda: day.sums() == (sum(spent), 0))
    finally:
        for process in both:
            process.end()
        day.database.close()


async def test_what_a_killed_process_had_reserved_can_be_spent_once_its_leases_are_over(
    checkpoint: Callable[[str], Path], server: PostgresServer, tmp_path: Path
) -> None:
    url = server.new_database()
    killed, alive = decoders(checkpoint("moe"), tmp_path, url)
    day = Day(url)
    started = asyncio.Semaphore(0)

    async def call(client: AsyncClient) -> None:
        try:
            async for event in client.stream("?", sampling=ENDLESS):
                if isinstance(event, Started):
                    started.release()
        except FoveaError:
            return

    try:
        for process in (killed, alive):
            process.start()
        for process in (killed, alive):
            await process.until_ready()
        async with AsyncClient(killed.address) as client:
            calls = [asyncio.create_task(call(client)) for _ in range(4)]
            for _ in calls:
                await started.acquire()
            killed.signal(signal.SIGKILL)
            await killed.ended()
            await asyncio.gather(*calls)
        assert day.sums()[1] > 4 * 300
        much = Sampling(max_new_tokens=500, response_format=Format.regex("[ab]{4}"))
        async with AsyncClient(alive.address) as client:
            with pytest.raises(errors.QuotaExceeded):
                await client.ask("?", sampling=much)
            day.expire()
            answer = await client.ask("?", sampling=much)
        totals = answer.receipt.totals
        await until(lambda: day.sums() == (totals.text_tokens + totals.output_tokens, 0))
    finally:
        for process in (killed, alive):
            process.end()
        day.database.close()
