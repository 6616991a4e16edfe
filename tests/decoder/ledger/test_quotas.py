"""Quotas hold for decoders that share a database, and nothing that is reserved stays reserved."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import URL, Connection, select

from decoder_svc.budget.tariff import Spend, Tariff
from decoder_svc.convert import charge_key
from decoder_svc.ledger import database as database_module
from decoder_svc.ledger import quotas as quotas_module
from decoder_svc.ledger import spending
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.quota_file import QuotaTable
from decoder_svc.ledger.quotas import Quotas
from decoder_svc.ledger.reservation_queue import ReservationQueue, Wish
from decoder_svc.ledger.spending import Quota, settle
from decoder_svc.ledger.tables import quota_days, reservations
from fovea.access.files import CredentialFile
from fovea.contract.errors import CredentialsInvalid, InvalidArgument, QuotaExceeded
from fovea.contract.receipt import Price, Totals
from fovea.contract.usage import UsageRecord
from fovea.decoder.v1 import decoder_pb2
from tests.decoder.ledger.parts import PATIENCE_S, receipt, record, until, writer

CALLERS, CALLS = 64, 4


def quotas(database: Database, quota: Quota, warn_share: float = 1.0) -> Quotas:
    """The wait only guards against hanging: an unchecked request would hide a failure."""
    return Quotas(database, lambda tenant: quota, warn_share, "EUR", wait_s=60.0)


def spent(tokens: int, amount: float = 0.0, **changes: Any) -> UsageRecord:
    """The record of a request that has spent this."""
    totals = Totals(text_tokens=tokens)
    return record(receipt=replace(receipt(), totals=totals, price=Price(amount, "EUR")), **changes)


def state(database: Database) -> tuple[int, int, int]:
    """Tokens spent, tokens reserved, and the number of reservations, over all days."""
    with database.reading() as connection:
        rows = connection.execute(select(quota_days.c.tokens, quota_days.c.reserved_tokens)).all()
        count = len(connection.execute(select(reservations.c.id)).all())
    return sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows), count


async def test_a_reservation_is_settled_to_what_was_spent(database: Database) -> None:
    with closing(quotas(database, Quota(tokens=100))) as guard:
        await guard.reserve("1", "acme", Spend(60))
        assert state(database) == (0, 60, 1)
        with pytest.raises(QuotaExceeded) as refused:
            await guard.reserve("2", "acme", Spend(41))
        assert refused.value.metadata["limit"] == "100.0"
        assert (refused.value.actual, refused.value.requested, refused.value.unit) == (60, 41, "tokens")
        assert refused.value.reset_time > time.strftime("%Y-%m-%d")
        with database.writing() as connection:
            settle(connection, [spent(7, id="1")])
        assert state(database) == (7, 0, 0)
        await guard.reserve("3", "acme", Spend(93))
        await guard.reserve("4", "other", Spend(100))


@pytest.mark.long
def test_decoders_that_settle_mixed_batches_do_not_deadlock(database: Database, url: URL) -> None:
    """Tenants with and without reservations, and retries, in any order: rows are locked in one order."""
    dice, tenants = random.Random(0), [f"t{number}" for number in range(6)]
    batches = []
    with database.writing() as connection:
        for number in range(160):
            batch = []
            for at in range(6):
                kept = spent(
                    1,
                    id=f"{number} {at}",
                    tenant=dice.choice(tenants),
                    charge_key=dice.choice(["", "k", "l"]),
                )
                batch.append(kept)
                if dice.random() < 0.5:
                    assert spending.reserve(connection, kept.id, kept.tenant, Spend(1), Quota())[0]
            batches.append(batch)
    databases = [Database(url) for _ in range(4)]

    def settle_all(number: int) -> None:
        for batch in batches[number::4]:
            with databases[number].writing() as connection:
                settle(connection, batch)
                spending.give_back_expired(connection)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(settle_all, range(4)))
    for each in databases:
        each.close()
    _, reserved, count = state(database)
    assert (reserved, count) == (0, 0)


async def test_money_is_a_bound_of_its_own(database: Database) -> None:
    with closing(quotas(database, Quota(amount=1.0))) as guard:
        await guard.reserve("1", "acme", Spend(10**9, 0.6))
        with pytest.raises(QuotaExceeded) as refused:
            await guard.reserve("2", "acme", Spend(1, 0.5))
    assert (refused.value.unit, refused.value.limit, refused.value.actual) == ("EUR", 1.0, 0.6)


async def test_two_decoders_and_64_callers_never_exceed_a_quota(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller reserves the most, spends less, and settles. What was settled never exceeds the quota."""
    monkeypatch.setattr(database_module, "WAIT_S", PATIENCE_S)
    limit, dice = 4_000, random.Random(0)
    databases = [Database(url) for _ in range(2)]
    guards = [quotas(each, Quota(tokens=limit)) for each in databases]
    writers = [writer(each) for each in databases]
    for each in writers:
        each.start()
    accepted = refused = 0

    async def call(number: int) -> None:
        nonlocal accepted, refused
        guard, out = guards[number % 2], writers[number % 2]
        for at in range(CALLS):
            kept = spent(dice.randrange(1, 60), id=f"{number} {at}")
            try:
                await guard.reserve(kept.id, "acme", Spend(60))
            except QuotaExceeded:
                refused += 1
                continue
            accepted += 1
            await asyncio.sleep(0)
            guard.release(kept)
            out.add(kept)

    await asyncio.gather(*(call(number) for number in range(CALLERS)))
    until(lambda: sum(each.written for each in writers) == accepted)
    for each in writers:
        each.close()
    tokens, reserved, count = state(databases[0])
    assert refused
    assert accepted
    assert sum(guard.unchecked for guard in guards) == 0
    assert 0 < tokens <= limit
    assert (reserved, count) == (0, 0)
    for guard, each in zip(guards, databases, strict=True):
        guard.close()
        each.close()


def test_what_a_request_has_reserved_is_kept_until_it_is_settled(database: Database) -> None:
    """Also if it has ended by the time the result is read, but not if it had ended before its reservation."""
    queue = ReservationQueue(database, lambda id: False)
    for id, is_left in (("waited", False), ("left", True), ("last", False)):
        wish = Wish(id, "acme", Spend(10), Quota(tokens=100), is_left=is_left)
        queue.add(wish)
        assert wish.result.result(PATIENCE_S)[0]
    queue.close()
    assert state(database) == (0, 20, 2)


async def test_a_batch_that_is_written_again_is_not_charged_again(database: Database) -> None:
    kept = spent(7)
    for _ in range(2):
        thread = writer(database)
        thread.add(kept)
        thread.start()
        thread.close()
    assert state(database) == (7, 0, 0)


def test_retries_of_a_call_are_charged_once_with_the_most_that_one_has_used(database: Database) -> None:
    def settled(*records: UsageRecord) -> int:
        for each in records:
            with database.writing() as connection:
                settle(connection, [each])
        return state(database)[0]

    assert settled(spent(7, charge_key="k")) == 7
    assert settled(spent(5, charge_key="k"), spent(9, charge_key="k")) == 9
    assert settled(spent(9)) == 18  # without a key
    assert settled(spent(9, charge_key="other")) == 27
    more = [spent(9, charge_key="k") for _ in range(spending.RETRIES - 3)]
    assert settled(*more) == 27
    assert settled(spent(9, charge_key="k")) == 36  # more than any retry needs


def test_two_decoders_charge_retries_once(url: URL) -> None:
    """They settle at the same time."""
    databases = [Database(url) for _ in range(2)]
    databases[0].open()

    def once(each: Database) -> None:
        with each.writing() as connection:
            settle(connection, [spent(7, charge_key="k")])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(once, databases * 3))
    assert state(databases[0])[0] == 7
    for each in databases:
        each.close()


def test_a_charge_key_is_that_of_the_same_request_of_the_same_tenant() -> None:
    def request(**changes: Any) -> decoder_pb2.GenerateRequest:
        return decoder_pb2.GenerateRequest(**({"idempotency_key": "k", "request_id": "a"} | changes))

    key = charge_key(request(), "acme")
    assert key
    assert charge_key(request(request_id="b"), "acme") == key
    assert charge_key(request(idempotency_key=""), "acme") == ""
    call = decoder_pb2.ToolCall(id="1", name="a", arguments="{}")
    others = (
        request(idempotency_key="l"),
        request(sampling=decoder_pb2.Sampling(seed=1)),
        request(tools=[decoder_pb2.Tool(name="a")]),
        request(tools=[decoder_pb2.Tool(name="a", strict=True)]),
        request(tool_choice=decoder_pb2.ToolChoice(name="a")),
        request(parallel_tool_calls=False),
        request(thinking=False),
        request(continue_final_message=True),
        request(messages=[decoder_pb2.Message(tool_calls=[call])]),
        request(messages=[decoder_pb2.Message(tool_call_id="1")]),
        request(messages=[decoder_pb2.Message(reasoning="1")]),
    )
    assert len({key, charge_key(request(), "other"), *(charge_key(each, "acme") for each in others)}) == 13
    for wrong in ("x" * 129, "\x00", "\u00e9"):
        with pytest.raises(InvalidArgument, match="idempotency_key"):
            charge_key(request(idempotency_key=wrong), "acme")


async def test_what_a_dead_decoder_had_reserved_is_given_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its lease has expired; a decoder that lives renews its leases."""
    monkeypatch.setattr(spending, "LEASE_S", -1.0)
    with (
        closing(quotas(database, Quota(tokens=100))) as dead,
        closing(quotas(database, Quota(tokens=100))) as alive,
    ):
        await dead.reserve("1", "acme", Spend(90))
        monkeypatch.setattr(spending, "LEASE_S", 60.0)
        await alive.reserve("2", "acme", Spend(80))
        assert state(database) == (0, 80, 1)
        with database.writing() as connection:
            alive.maintain(connection)
        assert state(database) == (0, 80, 1)
        with pytest.raises(QuotaExceeded):
            await alive.reserve("3", "acme", Spend(21))


async def test_leases_of_running_requests_are_renewed_and_those_of_ended_ones_are_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(quotas(database, Quota(tokens=100))) as guard:
        monkeypatch.setattr(spending, "LEASE_S", -1.0)
        await guard.reserve("runs", "acme", Spend(30))
        await guard.reserve("ended", "acme", Spend(30))
        guard.release(record(id="ended"))
        monkeypatch.setattr(spending, "LEASE_S", 60.0)
        with database.writing() as connection:
            guard.maintain(connection)
        assert state(database) == (0, 30, 1)


async def test_without_a_database_requests_are_answered_counted_and_settled_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas_module, "PAUSE_S", 0.0)
    blocker = tmp_path / "folder"
    blocker.write_text("a file where the folder should be")
    database = Database(database_url(blocker, ""))
    with closing(quotas(database, Quota(tokens=10))) as guard, structlog.testing.capture_logs() as lines:
        await guard.reserve("1", "acme", Spend(9))
        assert (guard.unchecked, lines[0]["event"]) == (1, "quota_unchecked")
        blocker.unlink()
        with database.writing() as connection:
            settle(connection, [spent(9, id="1")])
        with pytest.raises(QuotaExceeded):
            await guard.reserve("2", "acme", Spend(2))
    database.close()


async def test_a_warning_is_logged_once_a_day_at_its_share(database: Database) -> None:
    with (
        closing(quotas(database, Quota(tokens=100), 0.5)) as guard,
        structlog.testing.capture_logs() as lines,
    ):
        for number in range(4):
            await guard.reserve(str(number), "acme", Spend(25))
    assert [(line["event"], line["actual"], line["limit"]) for line in lines] == [
        ("quota_nearly_used", 50, 100)
    ]
    assert guard.nearly_used == 1


def test_the_most_of_a_tariff_bounds_every_price() -> None:
    """Whatever share of the prompt comes from the KV cache."""
    dice = random.Random(1)
    for _ in range(300):
        tariff = Tariff("EUR", *(dice.random() for _ in range(5)))
        text, visual = dice.randrange(1000), dice.randrange(1000)
        cached = dice.randrange(text + visual + 1)
        cached_visual = dice.randrange(max(0, cached - text), min(visual, cached) + 1)
        totals = Totals(visual, 0, text, cached, dice.randrange(100), patches=dice.randrange(4000))
        most = tariff.most(totals)
        assert tariff.price(totals, cached_visual).amount <= most.amount * (1 + 1e-12)
        assert most.tokens == text + visual + totals.output_tokens


@pytest.fixture
def file(tmp_path: Path) -> CredentialFile:
    return CredentialFile(tmp_path / "quotas.toml", "--quota-file")


def test_the_quota_file_names_tenants_and_is_read_anew(file: CredentialFile) -> None:
    file.path.write_text("[acme]\ntokens_per_day = 5\n")
    table = QuotaTable(Quota(tokens=9), file)
    assert (table.of("acme"), table.of("other")) == (Quota(tokens=5), Quota(tokens=9))
    file.path.write_text('["b.c"]\namount_per_day = 0.5\n')
    assert (table.of("acme"), table.of("b.c")) == (Quota(tokens=9), Quota(amount=0.5))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("acme = 1", "'acme'"), ("[acme]\ntokens = 1", "acme.tokens"), ("[acme]\ntokens_per_day = -1", "-1"),
        ("[acme]\ntokens_per_day = 1.5", "1.5"), ("[acme", "TOML"), ("[acme]\namount_per_day = true", "True"),
    ],
)  # fmt: skip
def test_a_wrong_quota_file_is_refused_by_entry(file: CredentialFile, text: str, named: str) -> None:
    file.path.write_text(text)
    with pytest.raises(CredentialsInvalid, match=named):
        QuotaTable(Quota(), file)


async def test_requests_that_wait_share_a_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first takes the thread; all others wait meanwhile."""
    begun, go_on, writing = threading.Event(), threading.Event(), database.writing
    transactions: list[int] = []

    def counted() -> AbstractContextManager[Connection]:
        transactions.append(1)
        begun.set()
        assert go_on.wait(60)
        return writing()

    monkeypatch.setattr(database, "writing", counted)
    with closing(quotas(database, Quota(tokens=100))) as guard:
        calls = [asyncio.create_task(guard.reserve("0", "acme", Spend(1)))]
        assert await asyncio.to_thread(begun.wait, 60)
        calls += [asyncio.create_task(guard.reserve(f"{n}", "acme", Spend(1))) for n in range(1, 41)]
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*calls)
        assert len(transactions) == 2
        assert state(database) == (0, 41, 41)


async def test_a_reservation_that_comes_after_its_request_has_ended_is_given_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request did not wait for the slow database, was answered, and was settled."""
    begun, go_on, writing = threading.Event(), threading.Event(), database.writing
    ended: list[int] = []

    @contextmanager
    def slow() -> Iterator[Connection]:
        begun.set()
        assert go_on.wait(60)
        with writing() as connection:
            yield connection
        ended.append(state(database)[1])

    monkeypatch.setattr(database, "writing", slow)
    with closing(Quotas(database, lambda tenant: Quota(tokens=100), 1.0, "EUR", wait_s=0.01)) as guard:
        await guard.reserve("1", "acme", Spend(60))
        assert guard.unchecked == 1
        assert await asyncio.to_thread(begun.wait, 60)
        guard.release(spent(7, id="1"))
        with writing() as connection:
            settle(connection, [spent(7, id="1")])
        go_on.set()
        await asyncio.to_thread(until, lambda: len(ended) == 2)
    assert ended == [60, 0]
    assert state(database) == (7, 0, 0)
