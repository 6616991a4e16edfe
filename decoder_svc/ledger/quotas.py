"""Quotas of tenants: the most that a request may spend is reserved before it is dispatched.

While the database is slow or absent, requests are answered unchecked, counted and logged: the ledger costs no
answer. What they spend is settled once the database is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from decoder_svc.budget.tariff import Spend
from decoder_svc.ledger.database import Database
from decoder_svc.ledger.reservation_queue import ReservationQueue, Wish
from decoder_svc.ledger.spending import DAY_S, Quota, give_back_expired, renew
from fovea.contract.errors import LedgerUnavailable, QuotaExceeded
from fovea.contract.usage import UsageRecord, day_of

WAIT_S = 2.0
PAUSE_S = 5.0
"""After a failure, requests are not checked for this long: each check would wait for the database."""
log = structlog.get_logger()


class Quotas:
    """`quota_of` gives the quota of a tenant. `open_ids` are the reservations of requests that run."""

    def __init__(
        self,
        database: Database,
        quota_of: Callable[[str], Quota],
        warn_share: float,
        currency: str,
        wait_s: float = WAIT_S,
    ) -> None:
        self.unchecked = 0
        self.refused = 0
        self.nearly_used = 0
        self.open_ids: set[str] = set()
        self._queue = ReservationQueue(database, self.open_ids.__contains__)
        self._quota_of = quota_of
        self._warn_share = warn_share
        self._currency = currency
        self._wait_s = wait_s
        self._paused_until = 0.0
        self._warned: dict[tuple[str, str], str] = {}

    async def reserve(self, id: str, tenant: str, most: Spend) -> None:
        """Reserve the most that request `id` may spend. Raises QuotaExceeded."""
        quota = self._quota_of(tenant)
        if not quota.is_bounded:
            return
        self.open_ids.add(id)
        if time.monotonic() < self._paused_until:
            self.unchecked += 1
            return
        wish = Wish(id, tenant, most, quota)
        self._queue.add(wish)
        try:
            reserved, used = await asyncio.wait_for(asyncio.wrap_future(wish.result), self._wait_s)
        except (TimeoutError, SQLAlchemyError, LedgerUnavailable, OSError) as error:
            self.unchecked += 1
            self._paused_until = time.monotonic() + PAUSE_S
            log.error("quota_unchecked", tenant=tenant, error=type(error).__name__, pause_s=PAUSE_S)
            return
        finally:
            wish.is_left = not wish.result.done()
        if not reserved:
            self.refused += 1
            raise self._exceeded(tenant, quota, most, used)
        self._warn(tenant, quota, used)

    def release(self, record: UsageRecord) -> None:
        """The request has ended; the writer settles its reservation."""
        self.open_ids.discard(record.id)

    def maintain(self, connection: Connection) -> None:
        """Renew the leases of requests that run; give back what decoders that are gone had reserved."""
        if self.open_ids:
            renew(connection, list(self.open_ids))
        give_back_expired(connection)

    def close(self) -> None:
        self._queue.close()

    def _exceeded(self, tenant: str, quota: Quota, most: Spend, used: Spend) -> QuotaExceeded:
        if quota.tokens is not None and used.tokens + most.tokens > quota.tokens:
            unit, limit, actual, asked = "tokens", float(quota.tokens), float(used.tokens), float(most.tokens)
        else:
            unit, limit, actual, asked = self._currency, quota.amount or 0.0, used.amount, most.amount
        return QuotaExceeded(tenant, unit, limit, actual, asked, _next_day())

    def _warn(self, tenant: str, quota: Quota, used: Spend) -> None:
        """Log once a day that a tenant has used the share of its quota at which to warn."""
        today = day_of(time.time())
        for unit, limit, actual in (
            ("tokens", quota.tokens, used.tokens),
            (self._currency, quota.amount, used.amount),
        ):
            due = limit is not None and actual >= self._warn_share * limit
            if due and self._warned.get((tenant, unit)) != today:
                self._warned[tenant, unit] = today
                self.nearly_used += 1
                log.warning("quota_nearly_used", tenant=tenant, unit=unit, limit=limit, actual=actual)


def _next_day() -> str:
    midnight = (time.time() // DAY_S + 1) * DAY_S
    return f"{datetime.fromtimestamp(midnight, UTC):%Y-%m-%dT%H:%M:%SZ}"
