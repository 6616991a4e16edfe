"""Bounds the ledger in age and in records. The oldest records go first, a limited number at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from decoder_svc.ledger.database import Database
from decoder_svc.ledger.tables import requests

CHUNK = 2_000
CHUNKS = 50
DAY_S = 86_400


@dataclass(frozen=True)
class Retention:
    """Records older than `days` are deleted, and the oldest above `max_records`."""

    days: int
    max_records: int

    def apply(self, database: Database) -> int:
        """Delete what exceeds the bounds, in short transactions. Returns the number of deleted records."""
        deleted = 0
        for _ in range(CHUNKS):
            with database.writing() as connection:
                count = self._delete(connection)
            deleted += count
            if count < CHUNK:
                break
        return deleted

    def _delete(self, connection: Connection) -> int:
        cutoff = time.time() - self.days * DAY_S
        newest_excess = (
            select(requests.c.seq).order_by(requests.c.seq.desc()).offset(self.max_records).limit(1)
        )
        excess = connection.scalar(newest_excess)
        due = requests.c.started < cutoff
        if excess is not None:
            due |= requests.c.seq <= excess
        oldest = select(requests.c.seq).where(due).order_by(requests.c.seq).limit(CHUNK)
        oldest = oldest.with_for_update(skip_locked=True)  # another decoder may delete the same
        return connection.execute(delete(requests).where(requests.c.seq.in_(oldest))).rowcount
