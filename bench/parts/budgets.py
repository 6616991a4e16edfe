"""A tenant's budget on two decoders that share a PostgreSQL, with many callers; clients count its use."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import func, select

from bench import services
from bench.postgres import PostgresServer
from bench.runner import Run
from bench.services import Services
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.tables import quota_days, reservations
from fovea.client import AsyncClient, Format, Sampling, Started
from fovea.contract.errors import FoveaError, QuotaExceeded
from fovea.contract.receipt import Receipt
from standin import model_dir

DECODERS, CALLERS = 2, 64
TOKENS = 16
TIMEOUT_S = 60.0
REFUSALS, PAUSE_S = 8, 0.3
"""A caller that is refused so often in a row, with a pause after each, has found the budget spent."""
SETTLED_S = 20.0
LEASE_S = 120.0
"""More than a lease and the interval in which leases are checked."""
RUNNING, LONG_ANSWER = 16, 400


@dataclass(frozen=True)
class Spent:
    """What callers spent of the quota, the most that a request may spend, and reservations afterwards."""

    quota: int
    tokens: int
    most: int
    requests: int
    reserved: int
    killed_with: int | None = None
    reserved_after_kill: int | None = None

    @property
    def requests_over(self) -> float:
        return max(0, self.tokens - self.quota) / self.most

    @property
    def share_used(self) -> float:
        return self.tokens / self.quota


def spend(run: Run, requests: int, kills: bool) -> Spent:
    """Spend a budget of about so many requests; then, with `kills`, kill a decoder whose requests run."""
    server = PostgresServer()
    run.stack.callback(server.remove)
    server.start()
    url, file = server.new_database(), run.folder / "quotas.toml"
    quota = requests * TOKENS
    _write(file, quota)
    flags = (
        *("--ledger-url", url, "--quota-file", str(file), "--ready-without-encoders", "true"),
        *services.ONE_THREAD,
    )
    launched = [
        services.pair(model_dir(), run.folder / f"budget-{number}", decoder_flags=flags)[-1]
        for number in range(DECODERS)
    ]
    running = run.start(*launched)
    database = Database(database_url(Path(), url))
    run.stack.callback(database.close)
    receipts = asyncio.run(_spend([child.address for child in running.running]))
    spent = [_tokens(receipt) for receipt in receipts]
    prompt = receipts[0].totals.text_tokens
    result = Spent(quota, sum(spent), prompt + TOKENS, len(spent), _left(database, SETTLED_S))
    if not kills:
        return result
    _write(file, 100 * (quota + RUNNING * LONG_ANSWER))
    held = asyncio.run(_kill(running, database))
    return replace(result, killed_with=held, reserved_after_kill=_left(database, LEASE_S))


def _write(file: Path, tokens: int) -> None:
    file.write_text(f"[default]\ntokens_per_day = {tokens}\n", encoding="utf-8")


def _tokens(receipt: Receipt) -> int:
    totals = receipt.totals
    return totals.text_tokens + totals.visual_tokens + totals.output_tokens


async def _spend(addresses: list[str]) -> list[Receipt]:
    """The receipts of all answers."""
    receipts: list[Receipt] = []

    async def caller(number: int) -> None:
        async with AsyncClient(addresses[number % len(addresses)], timeout_s=TIMEOUT_S) as client:
            refused = 0
            while refused < REFUSALS:
                try:
                    answer = await client.ask("How many?", sampling=Sampling(max_new_tokens=TOKENS))
                except QuotaExceeded:
                    refused += 1
                    await asyncio.sleep(PAUSE_S)
                else:
                    refused = 0
                    receipts.append(answer.receipt)

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return receipts


async def _kill(running: Services, database: Database) -> int:
    """Kill the first decoder while its requests run. Returns the reservations that it leaves."""
    decoder, started = running.running[0], asyncio.Semaphore(0)

    async def caller(client: AsyncClient) -> None:
        sampling = Sampling(max_new_tokens=LONG_ANSWER, response_format=Format.regex("[ab]{1000}"))
        try:
            async for event in client.stream("?", sampling=sampling):
                if isinstance(event, Started):
                    started.release()
        except FoveaError:
            return

    async with AsyncClient(decoder.address, timeout_s=TIMEOUT_S) as client:
        callers = [asyncio.create_task(caller(client)) for _ in range(RUNNING)]
        await started.acquire()
        decoder.kill()
        await asyncio.gather(*callers)
    return _reserved(database)


def _left(database: Database, within_s: float) -> int:
    """Reservations once there is none, or after so many seconds."""
    end = time.monotonic() + within_s
    while (left := _reserved(database)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def _reserved(database: Database) -> int:
    """Reservations, and days with reserved tokens."""
    with database.reading() as connection:
        rows = connection.scalar(select(func.count()).select_from(reservations))
        days = connection.scalar(
            select(func.count()).select_from(quota_days).where(quota_days.c.reserved_tokens != 0)
        )
    return int(rows or 0) + int(days or 0)
