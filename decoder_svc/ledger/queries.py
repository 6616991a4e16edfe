"""What UsageService reads: sums, pages of records, the records of a request id."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, select

from decoder_svc.ledger.rows import SUMMED, record_of
from decoder_svc.ledger.tables import requests
from fovea.contract.errors import InvalidArgument
from fovea.contract.usage import Dimension, Outcome, UsageFilter, UsagePage, UsageRecord, UsageSummary

MAX_SUMMARIES = 10_000
MAX_PAGE = 1_000
DEFAULT_PAGE = 100
MAX_RECORDS = 100
"""Records of a single request id."""
AMOUNTS = ("amount", "naive_amount")
NOT_COUNTS = ("key", "currency", *AMOUNTS)

_KEYS = {
    Dimension.TENANT: requests.c.tenant,
    Dimension.TIER: requests.c.tier,
    Dimension.HOUR: requests.c.hour,
    Dimension.MODEL: requests.c.model,
    Dimension.IMAGE_KIND: requests.c.image_kind,
}


def summarize(connection: Connection, chosen: UsageFilter, by: Dimension | None) -> list[UsageSummary]:
    """Sums by the key and the currency, in the order of the keys."""
    key: ColumnElement[Any] = _KEYS[by] if by else literal("")
    outcomes = [
        func.sum(case((requests.c.outcome == outcome.value, 1), else_=0)).label(outcome.value)
        for outcome in Outcome
    ]
    sums = [func.sum(requests.c[name]).label(name) for name in (*SUMMED, *AMOUNTS)]
    columns = (key.label("key"), requests.c.currency, func.count().label("requests"), *outcomes, *sums)
    statement = (
        select(*columns)
        .where(*_conditions(chosen))
        .group_by(*((key,) if by else ()), requests.c.currency)
        .order_by("key", requests.c.currency)
        .limit(MAX_SUMMARIES)
    )
    return [_summary(row._mapping) for row in connection.execute(statement)]


def _summary(row: Any) -> UsageSummary:
    """PostgreSQL sums integers as decimals."""
    values: dict[str, Any] = {name: int(value) for name, value in row.items() if name not in NOT_COUNTS}
    values |= {name: float(row[name]) for name in AMOUNTS}
    return UsageSummary(key=row["key"], currency=row["currency"], **values)


def page(connection: Connection, chosen: UsageFilter, size: int, token: str) -> UsagePage:
    """Raises InvalidArgument for a token that is not of an earlier page."""
    limit = min(size or DEFAULT_PAGE, MAX_PAGE)
    conditions = _conditions(chosen)
    if token:
        conditions.append(requests.c.seq < _seq(connection, token, chosen.tenant))
    statement = select(requests).where(*conditions).order_by(requests.c.seq.desc()).limit(limit + 1)
    rows = connection.execute(statement).all()
    following = str(rows[limit - 1].id) if len(rows) > limit else ""
    return UsagePage(tuple(record_of(row) for row in rows[:limit]), following)


def of_request(connection: Connection, request_id: str, tenant: str) -> list[UsageRecord]:
    """The records of a request id, newest first; of all tenants if `tenant` is empty."""
    conditions = [requests.c.request_id == request_id, *_conditions(UsageFilter(tenant=tenant))]
    statement = select(requests).where(*conditions).order_by(requests.c.seq.desc()).limit(MAX_RECORDS)
    return [record_of(row) for row in connection.execute(statement)]


def _conditions(chosen: UsageFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if chosen.tenant:
        conditions.append(requests.c.tenant == chosen.tenant)
    if chosen.start is not None:
        conditions.append(requests.c.started >= chosen.start)
    if chosen.end is not None:
        conditions.append(requests.c.started < chosen.end)
    if chosen.outcome is not None:
        conditions.append(requests.c.outcome == chosen.outcome.value)
    return conditions


def _seq(connection: Connection, token: str, tenant: str) -> int:
    """The place of a page's last record, whose id is the token.

    The place itself would tell how many requests other tenants have made in between.
    """
    conditions = [requests.c.id == token, *_conditions(UsageFilter(tenant=tenant))]
    seq = connection.scalar(select(requests.c.seq).where(*conditions)) if token.isalnum() else None
    if seq is None:
        what = "is not the token of an earlier page, or the last record of that page has been deleted"
        raise InvalidArgument.of_field("page_token", what)
    return int(seq)
