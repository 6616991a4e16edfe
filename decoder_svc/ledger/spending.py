"""What tenants have spent and reserved a day, in tables that several decoders may share.

A reservation is made in a single statement that checks the limits, so that decoders on one database never
reserve more than there is. The writer settles it in the transaction that stores the record. A reservation
has a lease: its decoder renews it while the request runs, and any decoder gives back what has expired.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from decoder_svc.budget.tariff import Spend
from decoder_svc.ledger.tables import charges, quota_days, reservations
from decoder_svc.receipt import spend_of
from fovea.contract.usage import UsageRecord, day_of

LEASE_S = 60.0
DAY_S = 86_400
KEEP_DAYS = 400
RETRIES = 8
"""Calls that are charged once."""


@dataclass(frozen=True)
class Quota:
    """What a tenant may spend a day; None is no bound."""

    tokens: int | None = None
    amount: float | None = None

    @property
    def is_bounded(self) -> bool:
        return self.tokens is not None or self.amount is not None


def reserve(connection: Connection, id: str, tenant: str, most: Spend, quota: Quota) -> tuple[bool, Spend]:
    """Reserve the most that a request may spend, if the quota has room for it.

    A request may reserve more later, of the day of its first reservation. Returns whether the quota has room,
    and what the tenant has spent and reserved that day, with this reservation.
    """
    now = time.time()
    day = connection.scalar(select(reservations.c.day).where(reservations.c.id == id)) or day_of(now)
    _add(connection, {(tenant, day): Spend()})
    row = _row(tenant, day)
    used_tokens = quota_days.c.tokens + quota_days.c.reserved_tokens
    used_amount = quota_days.c.amount + quota_days.c.reserved_amount
    room: list[ColumnElement[bool]] = []
    if quota.tokens is not None:
        room.append(used_tokens + most.tokens <= quota.tokens)
    if quota.amount is not None:
        room.append(used_amount + most.amount <= quota.amount)
    statement = update(quota_days).where(row, *room).values(_reserved(1, most))
    reserved = connection.execute(statement).rowcount == 1
    if reserved:
        _extend(connection, {"id": id, "tenant": tenant, "day": day, "expires": now + LEASE_S}, most)
    used = connection.execute(select(used_tokens, used_amount).where(row)).one()
    return reserved, Spend(int(used[0]), float(used[1]))


def _extend(connection: Connection, key: dict[str, Any], most: Spend) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    more = {name: getattr(reservations.c, name) + value for name, value in vars(most).items()}
    statement = dialect.insert(reservations).values(key | vars(most))
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=more))


def settle(connection: Connection, records: Sequence[UsageRecord]) -> None:
    """Give back what these records had reserved, and add what they have spent."""
    days = _release(connection, [record.id for record in records])
    spent: defaultdict[tuple[str, str], Spend] = defaultdict(Spend)
    for record in records:
        day = days.get(record.id, day_of(record.started))
        spent[record.tenant, day] += _charged(connection, record)
    _add(connection, {key: value for key, value in spent.items() if value != Spend()})


def _charged(connection: Connection, record: UsageRecord) -> Spend:
    """What a record counts against the quota: of a retry only what exceeds the calls before."""
    spend, now = spend_of(record.receipt), time.time()
    if not record.charge_key:
        return spend
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = charges.c.key == record.charge_key
    connection.execute(delete(charges).where(row, (charges.c.expires < now) | (charges.c.calls >= RETRIES)))
    first = {"key": record.charge_key, "tokens": 0, "amount": 0.0, "calls": 0, "expires": now + DAY_S}
    connection.execute(dialect.insert(charges).values(first).on_conflict_do_nothing())
    before = connection.execute(select(charges).where(row).with_for_update()).one()
    most = Spend(max(before.tokens, spend.tokens), max(before.amount, spend.amount))
    connection.execute(update(charges).where(row).values(calls=before.calls + 1, **vars(most)))
    return Spend(most.tokens - before.tokens, most.amount - before.amount)


def renew(connection: Connection, ids: Collection[str]) -> None:
    """Extend the leases of requests that still run."""
    expires = time.time() + LEASE_S
    connection.execute(update(reservations).where(reservations.c.id.in_(ids)).values(expires=expires))


def give_back_expired(connection: Connection) -> int:
    """Give back what decoders that are gone had reserved; forget days of long ago."""
    expired = select(reservations.c.id).where(reservations.c.expires < time.time())
    ids = [row.id for row in connection.execute(expired.limit(1000).with_for_update(skip_locked=True))]
    _release(connection, ids)
    connection.execute(delete(charges).where(charges.c.expires < time.time()))
    connection.execute(delete(quota_days).where(quota_days.c.day < day_of(time.time() - KEEP_DAYS * DAY_S)))
    return len(ids)


def _release(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Delete reservations. Returns the day of each; deleting claims it, so nothing is given back twice."""
    statement = delete(reservations).where(reservations.c.id.in_(list(ids))).returning(reservations)
    rows = connection.execute(statement).all()
    by_day: defaultdict[tuple[str, str], Spend] = defaultdict(Spend)
    for row in rows:
        by_day[row.tenant, row.day] += Spend(row.tokens, row.amount)
    for (tenant, day), spend in sorted(by_day.items(), key=lambda item: item[0]):
        connection.execute(update(quota_days).where(_row(tenant, day)).values(_reserved(-1, spend)))
    return {row.id: row.day for row in rows}


def _add(connection: Connection, spent: dict[tuple[str, str], Spend]) -> None:
    """Add to what tenants have spent, in the order of the keys, so that decoders do not deadlock."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    for (tenant, day), spend in sorted(spent.items(), key=lambda item: item[0]):
        row = {"tenant": tenant, "day": day, "reserved_tokens": 0, "reserved_amount": 0.0, **vars(spend)}
        added = {"tokens": quota_days.c.tokens + spend.tokens, "amount": quota_days.c.amount + spend.amount}
        statement = dialect.insert(quota_days).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["tenant", "day"], set_=added))


def _row(tenant: str, day: str) -> ColumnElement[bool]:
    return and_(quota_days.c.tenant == tenant, quota_days.c.day == day)


def _reserved(sign: int, spend: Spend) -> dict[str, Any]:
    return {
        "reserved_tokens": quota_days.c.reserved_tokens + sign * spend.tokens,
        "reserved_amount": quota_days.c.reserved_amount + sign * spend.amount,
    }
