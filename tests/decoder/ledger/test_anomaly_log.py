"""Anomalies outlive the decoder that has found them, and decoders on one database share them."""

from __future__ import annotations

from sqlalchemy import URL

from decoder_svc.ledger import anomaly_log
from decoder_svc.ledger.anomalies import AnomalyWatch
from decoder_svc.ledger.database import Database
from decoder_svc.ledger.ledger import Ledger
from fovea.contract.usage import Anomaly, AnomalyKind
from tests.decoder.ledger.parts import KEPT

TENANT = "acme"


def found(*kinds: AnomalyKind) -> AnomalyWatch:
    """A watch that has raised an alarm of each kind."""
    watch = AnomalyWatch()
    for kind in kinds:
        watch.note(Anomaly(kind, TENANT, 1.0, "r", "", 1.0, 9.5))
    return watch


async def test_anomalies_are_listed_from_memory_then_from_the_database_and_after_a_restart(url: URL) -> None:
    ledger = Ledger(Database(url), KEPT, 100)
    ledger.anomalies = found(AnomalyKind.COST)
    before = ledger.anomalies.found(TENANT)
    assert await ledger.found(TENANT) == before
    ledger.start()
    await ledger.close()
    assert ledger.anomalies.found("") == []
    later = Ledger(Database(url), KEPT, 100)
    later.anomalies = found(AnomalyKind.LENGTH)
    listed = await later.found("")
    assert [each.kind for each in listed] == [AnomalyKind.LENGTH, AnomalyKind.COST]
    assert listed[1:] == before
    assert await later.found("other") == []
    later.start()
    await later.close()


def test_the_newest_anomalies_are_kept(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(anomaly_log, "KEPT", 3)
    for number in range(5):
        watch = AnomalyWatch()
        watch._found.append(Anomaly(AnomalyKind.COST, "acme", float(number), "r", "PHOTO", 1.0, 9.5))
        anomaly_log.store(database, watch)
        assert watch.found("") == []
    with database.reading() as connection:
        assert [each.time for each in anomaly_log.listed(connection, "acme")] == [4.0, 3.0, 2.0]
        assert anomaly_log.listed(connection, "other") == []
