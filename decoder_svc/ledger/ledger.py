"""The ledger as the service sees it: takes records, answers questions about them.

Questions run on threads, a limited number at a time, so that they delay neither answers nor the writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from decoder_svc.ledger import anomaly_log, queries
from decoder_svc.ledger.anomalies import AnomalyWatch
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.quota_file import QuotaTable
from decoder_svc.ledger.quotas import Quotas
from decoder_svc.ledger.retention import Retention
from decoder_svc.ledger.spending import Quota, give_back_expired
from decoder_svc.ledger.writer import LedgerWriter
from decoder_svc.ledger_settings import LedgerSettings
from fovea.contract.errors import LedgerUnavailable
from fovea.contract.usage import Anomaly, Dimension, UsageFilter, UsagePage, UsageRecord, UsageSummary

READERS = 2
READ_S = 10.0
"""Longest time that a question waits, with its turn on a thread."""
T = TypeVar("T")


def open_ledger(chosen: LedgerSettings, currency: str) -> Ledger | None:
    """The ledger, not started; None if the settings want none.

    Raises CredentialsInvalid, which names what is wrong in the quota file.
    """
    if not chosen.ledger:
        return None
    database = Database(database_url(chosen.ledger_dir, chosen.ledger_url.get_secret_value()))
    quotas = None
    if chosen.has_quotas:
        default = Quota(chosen.quota_tokens_per_day or None, chosen.quota_amount_per_day or None)
        table = QuotaTable(default, chosen.credential("quota_file"))
        quotas = Quotas(database, table.of, chosen.quota_warn_share, currency)
    retention = Retention(chosen.ledger_days, chosen.ledger_max_records)
    return Ledger(database, retention, chosen.ledger_queue, quotas)


class Ledger:
    """Open from `start` to `close`."""

    def __init__(
        self, database: Database, retention: Retention, capacity: int, quotas: Quotas | None = None
    ) -> None:
        self.writer = LedgerWriter(database, retention, capacity, self._maintain)
        self.quotas = quotas
        self.anomalies = AnomalyWatch()
        self._database = database
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")

    @property
    def sinks(self) -> list[Callable[[UsageRecord], object]]:
        """What takes the record of a request."""
        return [self.writer.add, self.anomalies.watch, *([self.quotas.release] if self.quotas else [])]

    def start(self) -> None:
        self.writer.start()

    async def close(self) -> None:
        """Write what waits, for a limited time. Questions to a database that is silent are cut."""
        await asyncio.to_thread(self.writer.close)
        if self.quotas is not None:
            self.quotas.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._database.close)

    async def summarize(self, chosen: UsageFilter, by: Dimension | None) -> list[UsageSummary]:
        return await self._read(lambda connection: queries.summarize(connection, chosen, by))

    async def page(self, chosen: UsageFilter, size: int, token: str) -> UsagePage:
        return await self._read(lambda connection: queries.page(connection, chosen, size, token))

    async def of_request(self, request_id: str, tenant: str) -> list[UsageRecord]:
        return await self._read(lambda connection: queries.of_request(connection, request_id, tenant))

    async def found(self, tenant: str) -> list[Anomaly]:
        """The anomalies of a tenant, newest first, of all decoders; of all tenants if `tenant` is empty."""
        waiting = self.anomalies.found(tenant)
        stored = await self._read(lambda connection: anomaly_log.listed(connection, tenant))
        return list(dict.fromkeys([*waiting, *stored]))[: anomaly_log.KEPT]

    def _maintain(self, database: Database) -> None:
        with database.writing() as connection:
            (self.quotas.maintain if self.quotas else give_back_expired)(connection)
        anomaly_log.store(database, self.anomalies)

    async def _read(self, question: Callable[[Connection], T]) -> T:
        """Raises LedgerUnavailable while the database does not answer."""

        def read() -> T:
            try:
                with self._database.reading() as connection:
                    return question(connection)
            except (SQLAlchemyError, OSError) as error:
                raise LedgerUnavailable("its database does not answer") from error

        reading = asyncio.get_running_loop().run_in_executor(self._readers, read)
        try:
            return await asyncio.wait_for(reading, READ_S)
        except TimeoutError:
            raise LedgerUnavailable(f"its database has not answered within {READ_S:g} s") from None
