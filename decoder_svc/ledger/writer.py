"""Writes records in batches, on a thread of its own, off the request path.

The queue is bounded: while the database is slow or absent, records wait, and those that find the queue full
are dropped and counted. So are records that come after the end. A batch leaves the queue once it is
committed. Writing it again after a lost connection changes nothing, because records have unique ids.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

import structlog
from sqlalchemy import insert, select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from decoder_svc.ledger.database import Database
from decoder_svc.ledger.retention import Retention
from decoder_svc.ledger.rows import row_of
from decoder_svc.ledger.spending import settle
from decoder_svc.ledger.tables import requests
from fovea.contract.errors import LedgerUnavailable
from fovea.contract.usage import UsageRecord

BATCH = 500
INTERVAL_S = 0.5
"""Longest time that a record waits for others before it is written: each batch has costs of its own."""
RETRY_S = 1.0
MAINTAIN_S = 15.0
RETAIN_S = 60.0
CLOSE_S = 5.0
REFUSALS = (DataError, IntegrityError, ValueError, OverflowError)
"""What a value raises that no database stores. Everything else means that the database is not available."""
log = structlog.get_logger()


class LedgerWriter:
    """A bounded queue and the thread that empties it. `add` may be called from any thread."""

    def __init__(
        self,
        database: Database,
        retention: Retention,
        capacity: int,
        maintain: Callable[[Database], object] | None = None,
    ) -> None:
        self.dropped = 0
        self.written = 0
        self.up = True
        self._database = database
        self._retention = retention
        self.capacity = capacity
        self._maintain = maintain
        self._queue: deque[UsageRecord] = deque()
        self._added = threading.Event()
        self._closing = threading.Event()
        self._closed = False
        self._retained = self._maintained = 0.0
        self._lost_since = -1
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    @property
    def waiting(self) -> int:
        """Records in the queue."""
        return len(self._queue)

    def start(self) -> None:
        self._thread.start()

    def add(self, record: UsageRecord) -> None:
        """Queue a record. Drops and counts it if the queue is full or the writer closed."""
        if self._closed or len(self._queue) >= self.capacity:
            self._drop()
            return
        self._queue.append(replace(record, token_gaps_s=()))  # they are not stored, and many
        self._added.set()

    def _drop(self) -> None:
        """Log the first loss since the last write: a database may be too slow without being down."""
        self.dropped += 1
        if self._closed:
            log.error("ledger_records_lost", records=1)
        elif self._lost_since != self.written:
            self._lost_since = self.written
            log.error("ledger_full", waiting=len(self._queue), dropped=self.dropped)

    def close(self) -> None:
        """Write what waits, for at most CLOSE_S. Records that are left are dropped and counted."""
        self._closing.set()
        self._added.set()
        self._thread.join(CLOSE_S)
        self._closed = True
        left = len(self._queue)
        if left:
            self.dropped += left
            log.error("ledger_records_lost", records=left)

    def _run(self) -> None:
        closing = False
        while not closing or self._queue:
            self._added.wait(MAINTAIN_S)
            closing = self._closing.wait(INTERVAL_S if self.up else RETRY_S)
            self._added.clear()
            try:
                self._write_all()
                self._keep()
            except (SQLAlchemyError, LedgerUnavailable, OSError) as error:
                self._mark(error)
                if closing or self._closed:
                    return
                self._added.set()
            else:
                self._mark(None)

    def _write_all(self) -> None:
        """Write batches; record by record where the database refuses a value."""
        while self._queue:
            batch = list(islice(self._queue, BATCH))
            try:
                self._insert(batch)
            except REFUSALS:
                self._write_singly(batch)
            else:
                self._done(len(batch))

    def _write_singly(self, batch: Sequence[UsageRecord]) -> None:
        for record in batch:
            try:
                self._insert([record])
            except REFUSALS as error:
                self._queue.popleft()
                self.dropped += 1
                log.error("ledger_record_refused", id=record.id, error=type(error).__name__)
            else:
                self._done(1)

    def _done(self, count: int) -> None:
        for _ in range(count):
            self._queue.popleft()
        self.written += count

    def _insert(self, batch: Sequence[UsageRecord]) -> None:
        """Store records. Those of a batch whose commit was not confirmed may be stored already."""
        records = list({record.id: record for record in batch}.values())
        try:
            self._store(records)
        except IntegrityError:
            self._store(self._missing(records))

    def _store(self, records: Sequence[UsageRecord]) -> None:
        """Store records and settle what they have spent, in a single transaction."""
        if records:
            with self._database.writing() as connection:
                connection.execute(insert(requests), [row_of(record) for record in records])
                settle(connection, records)

    def _missing(self, records: Sequence[UsageRecord]) -> list[UsageRecord]:
        ids = select(requests.c.id).where(requests.c.id.in_([record.id for record in records]))
        with self._database.reading() as connection:
            stored = set(connection.scalars(ids))
        return [record for record in records if record.id not in stored]

    def _keep(self) -> None:
        """Do at times what is not a record's: leases, anomalies, and the bounds of age and size."""
        now = time.monotonic()
        due = now - self._maintained >= MAINTAIN_S or self._closing.is_set()
        if self._maintain is not None and due:
            self._maintain(self._database)
            self._maintained = now
        if now - self._retained < RETAIN_S:
            return
        deleted = self._retention.apply(self._database)
        self._retained = now
        if deleted:
            log.info("ledger_records_expired", records=deleted)

    def _mark(self, error: Exception | None) -> None:
        """Log when the database goes away and when it is back, once each."""
        if error is not None and self.up:
            log.error("ledger_down", error=str(error).partition("\n")[0], waiting=len(self._queue))
        elif error is None and not self.up:
            log.warning("ledger_up", dropped=self.dropped, written=self.written)
        self.up = error is None
