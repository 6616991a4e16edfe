"""What tenants have spent and reserved a day, in tables that several decoders may share.

A reservation is made in a single statement that checks the limits, so that decoders on one database never
reserve more than there is. The writer settles it in the transaction that stores the record. A reservation
has a lease: its decoder renews it while the request runs, and any decoder gives back what has expired.

Every transaction locks rows in the same order, so that decoders do not deadlock: reservations, charges by
key, days by tenant and day. What may be left to another decoder is skipped where it is locked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
LIMIT = 1_000
"""Rows that a transaction cleans up."""
Day = tuple[str, str]
"""A tenant and a UTC day."""


@dataclass(frozen=True)
class Quota:
    """What a tenant may spend a day; None is no bound."""

    tokens: int | None = None
    amount: float | None = None

    @property
    def is_bounded(self) -> bool:
        return self.tokens is not None or self.amount is not None


@dataclass
class _Change:
    """What is added to a day: what was spent, and what is no longer reserved."""

    spent: Spend = field(default_factory=Spend)
    released: Spend = field(default_factory=Spend)

    def row(self, tenant: str, day: str) -> dict[str, Any]:
        return {
            "tenant": tenant,
            "day": day,
            **vars(self.spent),
            "reserved_tokens": -self.released.tokens,
            "reserved_amount": -self.released.amount,
        }


Changes = defaultdict[Day, _Change]


def reserve(connection: Connection, id: str, tenant: str, most: Spend, quota: Quota) -> tuple[bool, Spend]:
    """Reserve the most that a request may spend, if the quota has room for it.

    A request may reserve more later, of the day of its first reservation. Returns whether the quota has room,
    and what the tenant has spent and reserved that day, with this reservation.
    """
    now = time.time()
    held = select(reservations.c.day).where(reservations.c.id == id).with_for_update()
    day = connection.scalar(held) or day_of(now)
    row = and_(quota_days.c.tenant == tenant, quota_days.c.day == day)
    first = _dialect(connection).insert(quota_days).values(_Change().row(tenant, day))
    connection.execute(first.on_conflict_do_nothing())
    used_tokens = quota_days.c.tokens + quota_days.c.reserved_tokens
    used_amount = quota_days.c.amount + quota_days.c.reserved_amount
    room: list[ColumnElement[bool]] = []
    if quota.tokens is not None:
        room.append(used_tokens + most.tokens <= quota.tokens)
    if quota.amount is not None:
        room.append(used_amount + most.amount <= quota.amount)
    more = {
        "reserved_tokens": quota_days.c.reserved_tokens + most.tokens,
        "reserved_amount": quota_days.c.reserved_amount + most.amount,
    }
    statement = update(quota_days).where(row, *room).values(more)
    reserved = connection.execute(statement).rowcount == 1
    if reserved:
        _extend(connection, {"id": id, "tenant": tenant, "day": day, "expires": now + LEASE_S}, most)
    used = connection.execute(select(used_tokens, used_amount).where(row)).one()
    return reserved, Spend(int(used[0]), float(used[1]))


def _extend(connection: Connection, key: dict[str, Any], most: Spend) -> None:
    more = {name: getattr(reservations.c, name) + value for name, value in vars(most).items()}
    statement = _dialect(connection).insert(reservations).values(key | vars(most))
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=more))


def settle(connection: Connection, records: Sequence[UsageRecord]) -> None:
    """Give back what these records had reserved, and add what they have spent."""
    changes: Changes = defaultdict(_Change)
    days = _release(connection, [record.id for record in records], changes)
    for record in sorted(records, key=lambda record: record.charge_key):
        day = days.get(record.id) or day_of(record.started)
        changes[record.tenant, day].spent += _charged(connection, record)
    _apply(connection, changes)


def _charged(connection: Connection, record: UsageRecord) -> Spend:
    """What a record counts against the quota: of a retry only what exceeds the calls before."""
    spend, now = spend_of(record.receipt), time.time()
    if not record.charge_key:
        return spend
    first = {"key": record.charge_key, "tokens": 0, "amount": 0.0, "calls": 0, "expires": now + DAY_S}
    statement = _dialect(connection).insert(charges).values(first)
    # The update changes nothing; it locks the row, which another decoder could forget otherwise.
    statement = statement.on_conflict_do_update(index_elements=["key"], set_={"calls": charges.c.calls})
    before = connection.execute(statement.returning(charges)).one()._asdict()
    if before["expires"] < now or before["calls"] >= RETRIES:
        before = first
    charged = Spend(before["tokens"], before["amount"])
    most = Spend(max(charged.tokens, spend.tokens), max(charged.amount, spend.amount))
    after = {**before, **vars(most), "calls": before["calls"] + 1}
    connection.execute(update(charges).where(charges.c.key == record.charge_key).values(after))
    return Spend(most.tokens - charged.tokens, most.amount - charged.amount)


def renew(connection: Connection, ids: Collection[str]) -> None:
    """Extend the leases of requests that still run."""
    expires = time.time() + LEASE_S
    connection.execute(update(reservations).where(reservations.c.id.in_(ids)).values(expires=expires))


def give_back(connection: Connection, ids: Sequence[str]) -> None:
    """Give back what these requests have reserved."""
    changes: Changes = defaultdict(_Change)
    _release(connection, ids, changes)
    _apply(connection, changes)


def give_back_expired(connection: Connection) -> int:
    """Give back what decoders that are gone had reserved; forget charges and days of long ago."""
    now = time.time()
    expired = select(reservations.c.id).where(reservations.c.expires < now).limit(LIMIT)
    ids = list(connection.scalars(expired.with_for_update(skip_locked=True)))
    changes: Changes = defaultdict(_Change)
    _release(connection, ids, changes)
    old = select(charges.c.key).where(charges.c.expires < now).limit(LIMIT)
    connection.execute(delete(charges).where(charges.c.key.in_(old.with_for_update(skip_locked=True))))
    _apply(connection, changes)
    connection.execute(delete(quota_days).where(quota_days.c.day < day_of(now - KEEP_DAYS * DAY_S)))
    return len(ids)


def _release(connection: Connection, ids: Sequence[str], changes: Changes) -> dict[str, str]:
    """Delete reservations and note their release. Returns the day of each.

    Deleting claims a reservation, so nothing is given back twice.
    """
    statement = delete(reservations).where(reservations.c.id.in_(ids)).returning(reservations)
    rows = connection.execute(statement).all() if ids else []
    for row in rows:
        changes[row.tenant, row.day].released += Spend(row.tokens, row.amount)
    return {row.id: row.day for row in rows}


def _apply(connection: Connection, changes: Mapping[Day, _Change]) -> None:
    """Add changes to the days of tenants, in the order of the keys."""
    rows = [changes[key].row(*key) for key in sorted(changes) if changes[key] != _Change()]
    if not rows:
        return
    statement = _dialect(connection).insert(quota_days)
    names = ("tokens", "amount", "reserved_tokens", "reserved_amount")
    added = {name: quota_days.c[name] + statement.excluded[name] for name in names}
    connection.execute(statement.on_conflict_do_update(index_elements=["tenant", "day"], set_=added), rows)


def _dialect(connection: Connection) -> Any:
    """The module with the dialect's own statements."""
    return sqlite if connection.dialect.name == "sqlite" else postgresql
