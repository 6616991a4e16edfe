"""A day of use by three tenants, written to a ledger before its decoder starts: for the screenshot of the usage view."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.ledger import Ledger
from decoder_svc.ledger.retention import Retention
from fovea.contract.image import ImageKind
from fovea.contract.receipt import ImageReceipt, Price, Receipt, Stages, Tier, Totals
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import Outcome, UsageRecord

TENANTS = {"harbour": 30, "meridian": 18, "orchard": 9}
"""Requests in the busiest hour."""
HOURS, HOUR_S = 24, 3600
POOL = 40
"""Pictures that are asked about again."""
DEARER_FROM = 22
"""The hour from which pages of the first tenant cost much more."""


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_write(folder))


async def _write(folder: Path) -> None:
    ledger = Ledger(Database(database_url(folder, "")), Retention(30, 100_000), 100_000)
    ledger.start()
    for record in _records(random.Random("history"), time.time()):
        for sink in ledger.sinks:
            sink(record)
    await ledger.close()


def _records(dice: random.Random, now: float) -> Iterator[UsageRecord]:
    number = 0
    for hour in range(HOURS):
        busy = 0.12 + 0.88 * max(0.0, math.sin(math.pi * (hour - 2) / 20)) ** 1.5
        for tenant, most in TENANTS.items():
            for _ in range(round(most * busy * dice.uniform(0.8, 1.2))):
                began = now - (HOURS - hour) * HOUR_S + dice.uniform(0, 0.9 * HOUR_S)
                dearer = 6 if tenant == "harbour" and hour >= DEARER_FROM else 1
                yield _record(dice, number, tenant, began, dearer)
                number += 1


def _record(dice: random.Random, number: int, tenant: str, began: float, dearer: int) -> UsageRecord:
    tokens = dearer * round(dice.uniform(190, 320))
    origin = dice.choices((RowOrigin.ENCODED, RowOrigin.STORE, RowOrigin.PREFIX), (22, 58, 20))[0]
    text, output = round(dice.uniform(20, 60)), round(dice.lognormvariate(3.4, 0.5))
    cached = tokens + text // 2 if origin is RowOrigin.PREFIX else 0
    ttft = dice.lognormvariate(5.1 if origin is RowOrigin.ENCODED else 4.2, 0.3)
    size, known = (1280, 960), dice.randrange(POOL)
    name = number if origin is RowOrigin.ENCODED else known
    digest = f"sha256:{name:064x}"
    image = ImageReceipt(
        digest, size, size, (1, 60, 80), 4800, 4800, tokens, source=origin, kind=ImageKind.TEXT
    )
    outcome = dice.choices((Outcome.OK, Outcome.LENGTH, Outcome.CANCELLED, Outcome.REFUSED), (93, 4, 2, 1))[0]
    totals = Totals(
        tokens,
        1200,
        text,
        cached,
        output,
        int(origin is RowOrigin.ENCODED),
        patches=4 * tokens,
        naive_patches=4800,
    )
    stages = Stages(2, 40, 5, ttft - 50, ttft, output * 9.0, ttft + output * 9.0)
    amount, naive = (tokens + text + 4 * output) / 2e6, (1200 + text + 4 * output) / 2e6
    receipt = Receipt((image,), totals, stages, Tier(("own",)), Price(amount, "EUR", naive))
    return UsageRecord(
        f"{number:032x}",
        f"{tenant}-{number:05}",
        tenant,
        began,
        "Generate",
        outcome,
        "fovea-standin",
        receipt,
    )
