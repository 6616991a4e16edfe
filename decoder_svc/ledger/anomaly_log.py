"""Anomalies in the database: of all decoders that share it, and from before a restart."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from decoder_svc.ledger.anomalies import AnomalyWatch
from decoder_svc.ledger.database import Database
from decoder_svc.ledger.tables import anomalies
from fovea.contract.codec import pick
from fovea.contract.usage import Anomaly, AnomalyKind

KEPT = 1_000
"""Anomalies that are kept, and the most that are listed."""
KINDS = {kind.value: kind for kind in AnomalyKind}
PLAIN = ("tenant", "time", "request_id", "image_kind", "usual", "value")


def store(database: Database, watch: AnomalyWatch) -> None:
    """Store what the watch has found; the oldest above KEPT are deleted."""
    found = watch.found("")[::-1]
    if not found:
        return
    rows = [{"kind": str(anomaly.kind), **pick(anomaly, PLAIN)} for anomaly in found]
    with database.writing() as connection:
        connection.execute(insert(anomalies), rows)
        newest = select(anomalies.c.seq).order_by(anomalies.c.seq.desc()).limit(KEPT)
        connection.execute(delete(anomalies).where(anomalies.c.seq.not_in(newest)))
    watch.forget(found)


def listed(connection: Connection, tenant: str) -> list[Anomaly]:
    """The anomalies of a tenant, newest first; of all tenants if `tenant` is empty."""
    statement = select(anomalies).order_by(anomalies.c.seq.desc()).limit(KEPT)
    if tenant:
        statement = statement.where(anomalies.c.tenant == tenant)
    return [Anomaly(KINDS.get(row.kind), **pick(row, PLAIN)) for row in connection.execute(statement)]
