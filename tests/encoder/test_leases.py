"""Rows written into shared memory: a cancelled caller does not stop the fill, and a failure leaves no slot
behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from encoder_svc.core import EncodeJob, ServedRows
from encoder_svc.errors import EncodeFailed
from encoder_svc.leases import ArenaUse, RowLeases
from encoder_svc.permits import WritePermit
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey
from encoder_svc.tenant import Tenant
from encoder_svc.vision.output import Timings
from fovea.arena import Arena, OpenArena
from fovea.contract.errors import ArenaFull
from fovea.contract.plan import ALL_ROWS, EncodePlan, Reducer, RowSelection
from fovea.contract.rows import RowDtype, RowLayout, RowOrigin
from fovea.geometry import Planned

LAYOUT = RowLayout(8, 3, RowDtype.BF16)
DATA = bytes(range(256)) * 2  # 8 rows


class FakeEncoder:
    """Returns rows once `go` is set, or raises `failure`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.failure: Exception | None = None
        self.computed = 0
        self.cache = self
        self.noted = 0

    async def rows(self, job: EncodeJob) -> ServedRows:
        self.computed += 1
        await self.go.wait()
        if self.failure:
            raise self.failure
        rows = StoredRows(memoryview(DATA), LAYOUT, job.planned.grid_thw, "sha256:d")
        return ServedRows(job, rows, rows.count, RowOrigin.ENCODED, Timings())

    async def length(self, job: EncodeJob) -> int:
        return job.selection.count(job.planned.tokens) * LAYOUT.row_bytes

    def note_use(self, job: EncodeJob) -> None:
        self.noted += 1


def make_job(tenant: bytes = b"t", rows: RowSelection = ALL_ROWS) -> EncodeJob:
    key, planned = RowKey(tenant * 16, b"p" * 32, b"v" * 32), Planned(64, 128, (1, 8, 4), 32, 8)
    permit, plan = WritePermit(Tenant.of(tenant.decode())), EncodePlan(65_536, None, rows)
    return EncodeJob(permit, "sha256:i", key, {}, (64, 128), plan, planned, LAYOUT, 0.0)


@pytest_asyncio.fixture
async def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest_asyncio.fixture
async def leases(encoder: FakeEncoder, tmp_path: Path) -> AsyncIterator[Any]:
    made: Any = RowLeases(cast(Any, encoder), Arena(2 * len(DATA), tmp_path), 60.0)
    yield made
    await made.close()


async def test_a_cancelled_caller_does_not_stop_the_fill(
    leases: Any, encoder: FakeEncoder, tmp_path: Path
) -> None:
    first = asyncio.create_task(leases.lease(make_job()))
    second = asyncio.create_task(leases.lease(make_job()))
    await asyncio.sleep(0)
    first.cancel()
    encoder.go.set()
    leased = await second
    assert (encoder.computed, leased.served.joined) == (1, True)
    assert OpenArena(leases.arena, tmp_path).copy(leased.offset, len(DATA)) == DATA
    assert leases.use() == ArenaUse(len(DATA), 1)
    again = await leases.lease(make_job())
    assert (again.served.origin, again.offset, encoder.noted) == ("rows", leased.offset, 2)


async def test_tenants_do_not_share_slots(leases: Any, encoder: FakeEncoder) -> None:
    encoder.go.set()
    first, second = [await leases.lease(make_job(tenant)) for tenant in (b"t", b"u")]
    assert encoder.computed == 2
    assert first.offset != second.offset


async def test_only_its_tenant_releases_a_lease(leases: Any, encoder: FakeEncoder) -> None:
    encoder.go.set()
    leased = await leases.lease(make_job(b"t"))
    assert leases.release(Tenant.of("u"), [leased.lease]) == 0
    assert leases.use().leases == 1
    assert leases.release(Tenant.of("t"), [leased.lease]) == 1


async def test_a_slot_that_is_dropped_while_it_is_filled_is_not_reused_before_its_lease_ends(
    leases: Any, encoder: FakeEncoder
) -> None:
    first = asyncio.create_task(leases.lease(make_job(b"t")))
    for _ in range(5):
        await asyncio.sleep(0)
    leases.drop(lambda key: key.tenant == b"t" * 16)
    second = asyncio.create_task(leases.lease(make_job(b"u")))
    encoder.go.set()
    dropped, other = await first, await second
    assert dropped.offset != other.offset
    assert leases.release(Tenant.of("t"), [dropped.lease]) == 1
    assert leases.use() == ArenaUse(len(DATA), 1)


async def test_rows_of_an_image_that_was_deleted_meanwhile_leave_their_slot(
    leases: Any, encoder: FakeEncoder
) -> None:
    job = make_job()
    call = asyncio.create_task(leases.lease(job))
    await asyncio.sleep(0)
    job.permit.revoked = True
    encoder.go.set()
    leased = await call
    assert leases.release(job.tenant, [leased.lease]) == 1
    assert leases.use() == ArenaUse()


async def test_another_selection_gets_its_own_slot(leases: Any, encoder: FakeEncoder) -> None:
    encoder.go.set()
    leased = [
        await leases.lease(make_job(rows=RowSelection(reducer=r))) for r in (Reducer.SCOPE, Reducer.RANDOM)
    ]
    assert (encoder.computed, len({each.offset for each in leased})) == (2, 2)
    leases.drop(lambda key: (key.tenant, key.pixels) == (b"t" * 16, b"p" * 32))
    assert leases.use() == ArenaUse(2 * len(DATA), 2), "until the leases end"


async def test_rows_larger_than_their_slot_are_refused(leases: Any, encoder: FakeEncoder) -> None:
    encoder.go.set()
    with pytest.raises(ArenaFull):
        await leases.lease(replace(make_job(), planned=Planned(32, 64, (1, 4, 2), 8, 2)))
    assert leases.use() == ArenaUse()


async def test_a_failed_fill_leaves_no_slot_behind(leases: Any, encoder: FakeEncoder) -> None:
    encoder.go.set()
    encoder.failure = EncodeFailed()
    with pytest.raises(EncodeFailed):
        await leases.lease(make_job())
    assert leases.use() == ArenaUse()
    encoder.failure = None
    assert (await leases.lease(make_job())).served.origin == "encoded"
