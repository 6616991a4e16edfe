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

from decoder_svc.ledger import queries
from decoder_svc.ledger.database import Database
from decoder_svc.ledger.writer import LedgerWriter
from fovea.contract.errors import LedgerUnavailable
from fovea.contract.usage import Dimension, UsageFilter, UsagePage, UsageRecord, UsageSummary

READERS = 2
T = TypeVar("T")


class Ledger:
    """Open from `start` to `close`."""

    def __init__(self, database: Database, writer: LedgerWriter) -> None:
        self.writer = writer
        self._database = database
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")

    def start(self) -> None:
        self.writer.start()

    async def close(self) -> None:
        """Write what waits. Waits for running questions."""
        await asyncio.to_thread(self.writer.close)
        await asyncio.to_thread(self._readers.shutdown, cancel_futures=True)
        self._database.close()

    async def summarize(self, chosen: UsageFilter, by: Dimension | None) -> list[UsageSummary]:
        return await self._read(lambda connection: queries.summarize(connection, chosen, by))

    async def page(self, chosen: UsageFilter, size: int, token: str) -> UsagePage:
        return await self._read(lambda connection: queries.page(connection, chosen, size, token))

    async def of_request(self, request_id: str, tenant: str) -> list[UsageRecord]:
        return await self._read(lambda connection: queries.of_request(connection, request_id, tenant))

    async def _read(self, question: Callable[[Connection], T]) -> T:
        """Raises LedgerUnavailable while the database does not answer."""

        def read() -> T:
            try:
                with self._database.reading() as connection:
                    return question(connection)
            except (SQLAlchemyError, OSError) as error:
                raise LedgerUnavailable("its database does not answer") from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, read)
