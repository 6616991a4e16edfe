"""A slow or absent database costs no answer: records wait in a bounded queue, and losses are counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from bench.postgres import PostgresServer
from decoder_svc.ledger import writer as writers
from decoder_svc.ledger.database import Database, database_url
from tests.decoder.ledger.parts import record, until, writer
from tests.decoder.ledger.test_store import stored


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "RETRY_S", 0.05)


def test_a_postgresql_that_goes_away_and_comes_back_loses_what_the_queue_could_not_hold(
    server: PostgresServer,
) -> None:
    database = Database(database_url(Path(), server.new_database()))
    thread = writer(database, capacity=5)
    thread.start()
    thread.add(record(request_id="before"))
    until(lambda: thread.written == 1)
    try:
        with structlog.testing.capture_logs() as lines:
            server.stop()
            for number in range(8):
                thread.add(record(request_id=f"during {number}"))
            until(lambda: not thread.up)
            assert (thread.waiting, thread.dropped) == (5, 3)
            server.start()
            until(lambda: thread.up and thread.waiting == 0)
    finally:
        if not thread.up:
            server.start()
    kept = [each.request_id for each in reversed(stored(database))]
    assert kept == ["before", *(f"during {number}" for number in range(5))]
    thread.close()
    database.close()
    events = [(line["event"], line["log_level"]) for line in lines]
    assert sorted(events[:-1]) == [("ledger_down", "error"), ("ledger_full", "error")]
    assert events[-1] == ("ledger_up", "warning")
    assert lines[-1]["dropped"] == 3


def test_an_sqlite_file_that_cannot_be_made_costs_no_record_once_it_can(tmp_path: Path) -> None:
    blocker = tmp_path / "folder"
    blocker.write_text("a file where the folder should be")
    database = Database(database_url(blocker, ""))
    thread = writer(database)
    thread.add(record())
    thread.start()
    until(lambda: not thread.up)
    blocker.unlink()
    until(lambda: thread.written == 1)
    assert len(stored(database)) == 1
    thread.close()
    database.close()


def test_closing_without_a_database_ends_and_tells_the_loss(tmp_path: Path) -> None:
    blocker = tmp_path / "folder"
    blocker.write_text("")
    thread = writer(Database(database_url(blocker, "")))
    thread.add(record())
    with structlog.testing.capture_logs() as lines:
        thread.start()
        thread.close()
        thread.add(record())
    lost = {"event": "ledger_records_lost", "records": 1, "log_level": "error"}
    assert lines.count(lost) == 2, "one was waiting, one came after the end"
    assert (thread.dropped, thread.waiting) == (2, 1)


def test_a_locked_sqlite_file_does_not_delay_adding(tmp_path: Path) -> None:
    """Another process holds the write lock; records wait, and are written once it lets go."""
    database, other = (Database(database_url(tmp_path, "")) for _ in range(2))
    thread = writer(database)
    with other.writing():
        thread.start()
        thread.add(record())
        assert thread.written == 0
    until(lambda: thread.written == 1)
    thread.close()
    database.close()
    other.close()


def test_a_slow_database_that_costs_records_is_logged_once(tmp_path: Path) -> None:
    thread = writer(Database(database_url(tmp_path, "")), capacity=2)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            thread.add(record())
    assert lines == [{"event": "ledger_full", "waiting": 2, "dropped": 1, "log_level": "error"}]
    assert (thread.up, thread.dropped) == (True, 3)


def test_records_that_wait_keep_no_times_between_tokens(tmp_path: Path) -> None:
    """Long answers have thousands."""
    thread = writer(Database(database_url(tmp_path, "")))  # not started
    thread.add(record(token_gaps_s=(0.1,) * 2_000))
    assert [each.token_gaps_s for each in thread._queue] == [()]
