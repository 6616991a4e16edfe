"""What the usage view of the page shows: sums by tenant and hour, hits, latency, anomalies, requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from fovea.client import AsyncClient, UsageRecord, UsageSummary
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import Dimension, Outcome

HOUR_S = 3600
MAX_TENANTS = 8
"""Tenants whose hours are listed, those with the most tokens first."""
MAX_RECORDS = 300
"""Latest records of which latency and hits are computed."""
LATEST = 12
ANSWERED = (Outcome.OK, Outcome.LENGTH)


async def usage(client: AsyncClient, hours: int, now: float | None = None) -> dict[str, Any]:
    """What the caller may see of the last `hours`. The ledger shows a tenant its own records only."""
    end = time.time() if now is None else now
    start = end - hours * HOUR_S
    tenants = await client.summarize_usage(Dimension.TENANT, start=start)
    heaviest = sorted({each.key for each in tenants}, key=lambda name: -_tokens(tenants, name))[:MAX_TENANTS]
    by_hour = {
        name: await client.summarize_usage(Dimension.HOUR, start=start, tenant=name) for name in heaviest
    }
    records = await _latest(client, start)
    return {
        "start": start,
        "end": end,
        "tenants": [vars(each) for each in tenants],
        "hours": {name: [vars(each) for each in sums] for name, sums in by_hour.items()},
        "records": len(records),
        "rows": _origins(records),
        "latency_ms": _latency(records),
        "latest": [_line(record) for record in records[:LATEST]],
        "anomalies": [each.as_json() for each in await client.list_anomalies()],
    }


def _tokens(tenants: Sequence[UsageSummary], name: str) -> int:
    return sum(each.visual_tokens + each.text_tokens for each in tenants if each.key == name)


async def _latest(client: AsyncClient, start: float) -> list[UsageRecord]:
    records: list[UsageRecord] = []
    async with aclosing(client.list_usage(start=start)) as pages:
        async for record in pages:
            records.append(record)
            if len(records) >= MAX_RECORDS:
                break
    return records


def _origins(records: Sequence[UsageRecord]) -> dict[str, int]:
    """The number of images by where their rows came from."""
    counted = Counter(image.source for record in records for image in record.receipt.images)
    return {origin.value: counted[origin] for origin in RowOrigin}


def _latency(records: Sequence[UsageRecord]) -> dict[str, Any]:
    stages = [record.receipt.stages_ms for record in records if record.outcome in ANSWERED]
    return {
        "n": len(stages),
        "ttft": _percentiles([each.ttft for each in stages]),
        "total": _percentiles([each.total for each in stages]),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """By nearest rank; None without values."""
    if not values:
        return None
    ranked = sorted(values)
    return {f"p{p}": ranked[max(0, -(-p * len(ranked) // 100) - 1)] for p in (50, 95)}


def _line(record: UsageRecord) -> dict[str, Any]:
    receipt = record.receipt
    return {
        "request_id": record.request_id,
        "tenant": record.tenant,
        "started": record.started,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "visual_tokens": receipt.totals.visual_tokens,
        "naive_visual_tokens": receipt.totals.naive_visual_tokens,
        "text_tokens": receipt.totals.text_tokens,
        "output_tokens": receipt.totals.output_tokens,
        "ttft_ms": receipt.stages_ms.ttft,
        "total_ms": receipt.stages_ms.total,
    }
