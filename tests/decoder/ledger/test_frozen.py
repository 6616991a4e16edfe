"""A PostgreSQL that is frozen holds up nothing: not a request, not a question, not the end of the decoder.

The server is stopped by SIGSTOP, with the processes of its connections. It answers nothing, refuses nothing, and
applies none of its own timeouts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bench.postgres import PostgresServer
from decoder_svc.budget.tariff import Spend
from decoder_svc.ledger import ledger as ledgers
from decoder_svc.ledger import postgres
from decoder_svc.ledger import writer as writers
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.ledger import Ledger
from decoder_svc.ledger.quotas import Quotas
from decoder_svc.ledger.spending import Quota
from fovea.contract.errors import LedgerUnavailable
from fovea.contract.usage import UsageFilter
from tests.decoder.ledger.parts import KEPT, record, until, writer
from tests.decoder.ledger.test_store import stored

PATIENCE_S = 60.0
FOR_EVER = 3600.0
FROZEN_WAIT_S = 3.0
"""More than a busy machine needs for a transaction of a database that is not frozen."""


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    opened = Database(database_url(Path(), server.new_database()))
    opened.open()
    try:
        yield opened
    finally:
        server.thaw()
        opened.close()


@pytest.mark.long
def test_a_frozen_database_loses_what_the_queue_could_not_hold_and_says_how_much(
    server: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RETRY_S", 0.05)
    monkeypatch.setattr(postgres, "SILENCE_S", 0.3)
    monkeypatch.setattr(postgres, "CONNECT_S", 2)
    thread = writer(database, capacity=5)
    thread.start()
    thread.add(record(request_id="before"))
    until(lambda: thread.written == 1)
    with structlog.testing.capture_logs() as lines:
        server.freeze()
        for number in range(8):
            thread.add(record(request_id=f"during {number}"))
        until(lambda: not thread.up)
        assert (thread.waiting, thread.dropped) == (5, 3)
        server.thaw()
        until(lambda: thread.up and thread.waiting == 0)
    thread.close()
    kept = [each.request_id for each in reversed(stored(database))]
    assert kept == ["before", *(f"during {number}" for number in range(5))]
    events = [line["event"] for line in lines]
    assert {"ledger_full", "ledger_down"} < set(events)
    assert (events[-1], lines[-1]["dropped"]) == ("ledger_up", 3)


async def test_a_question_to_a_frozen_database_fails_and_the_ledger_closes(
    server: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the end of the ledger ends the waits here: the limit on silence is out of reach."""
    monkeypatch.setattr(postgres, "SILENCE_S", FOR_EVER)
    monkeypatch.setattr(ledgers, "READ_S", 0.3)
    monkeypatch.setattr(writers, "CLOSE_S", 0.2)
    before = threading.enumerate()
    ledger = Ledger(database, KEPT, 100)
    ledger.start()
    assert await ledger.summarize(UsageFilter(), None) == []
    server.freeze()
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(4):  # more than there are threads
            with pytest.raises(LedgerUnavailable, match=r"0\.3 s"):
                await ledger.summarize(UsageFilter(), None)
        ledger.writer.add(record())
        with structlog.testing.capture_logs() as lines:
            await ledger.close()
    assert {"event": "ledger_records_lost", "records": 1, "log_level": "error"} in lines
    assert ledger.writer.dropped == 1
    until(
        lambda: (
            not any(
                thread.name.startswith("ledger") for thread in set(threading.enumerate()).difference(before)
            )
        )
    )


async def test_a_frozen_database_delays_a_request_by_its_wait_only_and_the_next_not_at_all(
    server: PostgresServer, database: Database
) -> None:
    guard = Quotas(database, lambda tenant: Quota(tokens=10), 1.0, "EUR", wait_s=FROZEN_WAIT_S)
    await guard.reserve("1", "acme", Spend(4))
    assert guard.unchecked == 0
    server.freeze()
    async with asyncio.timeout(PATIENCE_S):
        await guard.reserve("2", "acme", Spend(100))
    began = time.monotonic()
    await guard.reserve("3", "acme", Spend(100))
    assert guard.unchecked == 2
    assert time.monotonic() - began < FROZEN_WAIT_S  # it has not waited: the check is paused
    guard.close()


def test_a_silent_server_is_given_up_and_the_connection_replaced(
    server: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SILENCE_S", 0.3)
    assert stored(database) == []
    server.freeze()
    timer = threading.Timer(1.0, server.thaw)  # so that connecting anew succeeds
    timer.start()
    assert stored(database) == []
    timer.join()
