"""What is written comes back, once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import URL, insert, select, update

from decoder_svc.ledger import database as databases
from decoder_svc.ledger import queries
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.ledger import open_ledger
from decoder_svc.ledger.retention import Retention
from decoder_svc.ledger.tables import VERSION, charges, schema
from decoder_svc.ledger_settings import LedgerSettings
from fovea.contract.errors import InvalidArgument, LedgerUnavailable
from fovea.contract.image import ImageKind
from fovea.contract.usage import Dimension, Outcome, UsageFilter, UsageRecord
from tests.decoder.ledger.parts import receipt, record, until, writer

ALL = UsageFilter()


def written(database: Database, *records: UsageRecord) -> None:
    thread = writer(database)
    for each in records:
        thread.add(each)
    thread.start()
    until(lambda: not thread.waiting)  # a writer that closes has a limit of its own
    thread.close()
    assert (thread.waiting, thread.dropped) == (0, 0)


def stored(database: Database, chosen: UsageFilter = ALL) -> list[UsageRecord]:
    with database.reading() as connection:
        return list(queries.page(connection, chosen, 1000, "").records)


def test_a_record_comes_back_as_it_was(database: Database) -> None:
    kept = record(outcome=Outcome.REFUSED, reason="IMAGE_CORRUPT", parent_request_id="p")
    written(database, kept)
    assert stored(database) == [kept]


def test_a_record_that_is_written_again_is_stored_once(database: Database) -> None:
    """A batch is repeated if its commit was not confirmed."""
    kept = record()
    written(database, kept)
    written(database, kept, kept, record(request_id="other"))
    assert sorted(each.request_id for each in stored(database)) == ["other", "r"]


def test_pages_are_newest_first_and_each_record_is_on_one(database: Database) -> None:
    records = [record(request_id=str(number), tenant="ab"[number % 2]) for number in range(25)]
    written(database, *records)
    seen: list[UsageRecord] = []
    token = ""
    with database.reading() as connection:
        while True:
            page = queries.page(connection, UsageFilter(tenant="a"), 5, token)
            seen += page.records
            assert len(page.records) <= 5
            if not (token := page.next_page):
                break
        foreign = next(each.id for each in records if each.tenant == "b")
        for invalid in ("x", "\0", "9" * 400, foreign):
            with pytest.raises(InvalidArgument, match="page_token"):
                queries.page(connection, UsageFilter(tenant="a"), 5, invalid)
    assert seen == [each for each in reversed(records) if each.tenant == "a"]


def test_a_page_does_not_tell_how_many_requests_other_tenants_make(database: Database) -> None:
    """The token names the tenant's own record, not its place among all records."""
    records = [record(tenant="ab"[number % 2]) for number in range(8)]
    written(database, *records)
    with database.reading() as connection:
        page = queries.page(connection, UsageFilter(tenant="a"), 2, "")
    assert page.next_page == page.records[-1].id


def test_the_records_of_a_request_id_are_those_of_the_tenant(database: Database) -> None:
    written(
        database,
        record(request_id="x", tenant="a"),
        record(request_id="x", tenant="b"),
        record(request_id="y"),
    )
    with database.reading() as connection:
        assert [each.tenant for each in queries.of_request(connection, "x", "a")] == ["a"]
        assert [each.tenant for each in queries.of_request(connection, "x", "")] == ["b", "a"]
        assert queries.of_request(connection, "none", "") == []


@pytest.mark.parametrize("by", [None, *Dimension])
def test_sums_are_those_of_the_records(database: Database, by: Dimension | None) -> None:
    kinds = list(ImageKind)
    records = [
        record(
            tenant=f"t{number % 3}",
            started=1_700_000_000.0 + 1800 * number,
            model=f"m{number % 2}",
            outcome=list(Outcome)[number % 6],
            receipt=receipt(visual=number, kind=kinds[number % len(kinds)], output_tokens=number % 5),
        )
        for number in range(20)
    ]
    written(database, *records)
    key = {
        None: lambda r: "",
        Dimension.TENANT: lambda r: r.tenant,
        Dimension.TIER: lambda r: "small>large",
        Dimension.HOUR: lambda r: time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(r.started)),
        Dimension.MODEL: lambda r: r.model,
        Dimension.IMAGE_KIND: lambda r: r.receipt.images[0].kind.value,
    }[by]
    with database.reading() as connection:
        summaries = queries.summarize(connection, ALL, by)
    assert [summary.key for summary in summaries] == sorted({key(each) for each in records})
    for summary in summaries:
        own = [each for each in records if key(each) == summary.key]
        assert summary.requests == len(own)
        assert summary.cancelled == sum(each.outcome is Outcome.CANCELLED for each in own)
        assert summary.visual_tokens == sum(each.receipt.totals.visual_tokens for each in own)
        assert summary.output_tokens == sum(each.receipt.totals.output_tokens for each in own)
        assert summary.wire_bytes == len(own) << 33
        assert (summary.amount, summary.naive_amount, summary.currency) == (
            0.5 * len(own),
            2.0 * len(own),
            "EUR",
        )


def test_a_filter_bounds_time_tenant_and_outcome(database: Database) -> None:
    first, second = record(started=100.0), record(started=200.0, tenant="b", outcome=Outcome.FAILED)
    written(database, first, second)
    assert stored(database, UsageFilter(start=100.0, end=200.0)) == [first]
    assert stored(database, UsageFilter(start=200.0)) == [second]
    assert stored(database, UsageFilter(tenant="b")) == [second]
    assert stored(database, UsageFilter(outcome=Outcome.FAILED)) == [second]


def test_old_records_and_those_above_the_bound_are_deleted(database: Database) -> None:
    old = record(started=time.time() - 3 * 86_400)
    recent = [record(request_id=str(number)) for number in range(9)]
    written(database, old, *recent)
    assert Retention(days=4, max_records=100).apply(database) == 0
    assert Retention(days=2, max_records=100).apply(database) == 1
    assert Retention(days=2, max_records=4).apply(database) == 5
    assert stored(database) == recent[:-5:-1]


def test_the_writer_applies_the_bounds(database: Database) -> None:
    thread = writer(database, retention=Retention(days=2, max_records=3))
    for _ in range(10):
        thread.add(record())
    thread.start()
    until(lambda: thread.written == 10 and len(stored(database)) == 3)
    thread.close()


def test_a_value_that_no_database_takes_costs_only_its_record(database: Database) -> None:
    poison = replace(record(), receipt=receipt(wire_bytes=1 << 63))
    thread = writer(database)
    for each in (record(request_id="a"), poison, record(request_id="b")):
        thread.add(each)
    thread.start()
    thread.close()
    assert (thread.written, thread.dropped, thread.up) == (2, 1, True)
    assert [each.request_id for each in stored(database)] == ["b", "a"]


def test_decoders_that_start_at_once_share_a_schema(url: URL) -> None:
    databases = [Database(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: written(each, record()), databases))
    assert len(stored(databases[0])) == 4
    for each in databases:
        each.close()


def test_a_schema_of_a_newer_version_is_refused_by_number(database: Database, url: URL) -> None:
    with database.writing() as connection:
        connection.execute(update(schema).values(version=VERSION + 1))
    newer = Database(url)
    with pytest.raises(LedgerUnavailable, match=f"version {VERSION + 1}.*version {VERSION}"):
        newer.open()
    newer.close()


def test_the_file_is_readable_by_its_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    database = Database(database_url(folder, ""))
    written(database, record())
    with database.writing():  # the files of the write-ahead log are there while it is open
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    database.close()
    assert modes == dict.fromkeys(("ledger.sqlite", "ledger.sqlite-shm", "ledger.sqlite-wal"), 0o600)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_url_that_cannot_be_read_is_refused_without_its_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ledger_url") as refused:
        database_url(tmp_path, "postgresql://user:hunter2@host:port/name")
    assert "hunter2" not in str(refused.value)


def test_postgresql_without_its_driver_is_refused_by_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'fovea\[postgres\]'"):
        Database(database_url(tmp_path, "postgresql://host/name"))


def test_without_quotas_what_retries_were_charged_is_forgotten_all_the_same(tmp_path: Path) -> None:
    """Every idempotency key has a row."""
    opened = open_ledger(
        LedgerSettings(listen="127.0.0.1:0", idle_s=60.0, insecure=True, ledger_dir=tmp_path), "EUR"
    )
    assert opened is not None
    database = Database(database_url(tmp_path, ""))
    with database.writing() as connection:
        row = {"key": "old", "tokens": 1, "amount": 0.0, "calls": 1, "expires": time.time() - 1}
        connection.execute(insert(charges).values(row))
    opened.start()

    def keys() -> list[str]:
        with database.reading() as connection:
            return list(connection.scalars(select(charges.c.key)))

    opened.writer.add(record(charge_key="new"))
    until(lambda: keys() == ["new"])
    opened.writer.close()
    database.close()
