"""Two tenants on an encoder: rows, uploads, leases, load and statistics of one are nothing to the other, and
a deletion is final.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from encoder_svc.state import ServiceState
from encoder_svc.store.store import LmdbStore
from encoder_svc.tenant import Tenant
from encoder_svc.texts import Texts
from encoder_svc.uploads import Intake
from fovea.contract.cache import Erasure
from fovea.contract.errors import ImageNotStored, TextReaderMissing
from fovea.contract.plan import EncodePlan, RowSelection
from tests.encoder.images.files import encoded, picture
from tests.encoder.parts import Parts, running

ACME, OTHER = Tenant.of("acme"), Tenant.of("other")
POOLED, POOLED_OTHER = Tenant.of("acme", shares_rows=True), Tenant.of("other", shares_rows=True)
PLAN = EncodePlan(None)
RANKED = EncodePlan(None, rows=RowSelection(keep=0.5))
DATA = encoded(picture(96, 64))


@pytest_asyncio.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with running(tmp_path / "store") as made:
        yield made


def state_of(parts: Parts) -> ServiceState:
    """The state of a service over these parts."""
    description: Any = None
    state = ServiceState(description, parts.permits)
    texts = Texts(
        parts.store, parts.uploads, TextReaderMissing("off", "off"), parts.permits, lambda result: None
    )
    state.open_store(parts.store, parts.uploads, texts)
    state.open(parts.encoder, None)
    return state


async def stored(parts: Parts, tenant: Tenant) -> str:
    return (await parts.keep(tenant, DATA)).facts.digest


async def in_the_tower(parts: Parts) -> None:
    async with asyncio.timeout(20):
        while not parts.encoder.cache.batcher.running:
            await asyncio.sleep(0.001)


async def test_an_upload_is_read_and_found_by_its_tenant_only(parts: Parts) -> None:
    image = await stored(parts, ACME)
    for read in (parts.uploads.describe, parts.uploads.data):
        with pytest.raises(ImageNotStored):
            await read(OTHER, image)
    with pytest.raises(ImageNotStored):
        await parts.encoder.encode(OTHER, image, PLAN, "")
    assert await Intake(parts.uploads, OTHER).announce(image, len(DATA)) is None, "it must send the bytes"
    assert not (await parts.keep(OTHER, DATA)).already


async def test_rows_and_rankings_are_not_shared(parts: Parts) -> None:
    image = await stored(parts, ACME)
    await stored(parts, OTHER)
    for plan in (PLAN, RANKED):
        first = await parts.encoder.encode(ACME, image, plan, "")
        await parts.encoder.written()
        second = await parts.encoder.encode(OTHER, image, plan, "")
        assert (first.origin, second.origin, second.joined) == ("encoded", "encoded", False)
        assert bytes(first.rows.data) == bytes(second.rows.data)
        await parts.encoder.written()
    assert (await parts.encoder.encode(ACME, image, PLAN, "")).origin == "rows"


async def test_concurrent_calls_join_within_a_tenant_only(parts: Parts) -> None:
    image = await stored(parts, ACME)
    await stored(parts, OTHER)
    parts.tower.gate.clear()
    tenants = (ACME, ACME, OTHER)
    calls = [asyncio.create_task(parts.encoder.encode(tenant, image, PLAN, "")) for tenant in tenants]
    await in_the_tower(parts)
    parts.tower.gate.set()
    joined = [served.joined for served in await asyncio.gather(*calls)]
    assert sorted(joined[:2]) == [False, True]
    assert joined[2] is False
    assert sum(parts.tower.computed) == 2


async def test_a_shared_pool_shares_rows_but_no_uploads(parts: Parts) -> None:
    image = await stored(parts, POOLED)
    with pytest.raises(ImageNotStored):
        await parts.encoder.encode(POOLED_OTHER, image, PLAN, "")
    await stored(parts, POOLED_OTHER)
    await parts.encoder.encode(POOLED, image, PLAN, "")
    await parts.encoder.written()
    assert (await parts.encoder.encode(POOLED_OTHER, image, PLAN, "")).origin == "rows"


async def test_load_is_seen_per_tenant(parts: Parts) -> None:
    image, state = await stored(parts, ACME), state_of(parts)
    parts.tower.gate.clear()
    call = asyncio.create_task(parts.encoder.encode(ACME, image, PLAN, ""))
    await in_the_tower(parts)
    assert (state.load(ACME).running, state.load(OTHER).running, state.load().running) == (1, 0, 1)
    parts.tower.gate.set()
    await call
    assert (state.load(ACME).encodes, state.load(OTHER).encodes, state.load().encodes) == (1, 0, 1)


async def test_statistics_of_the_store_are_sums_over_tenants(parts: Parts) -> None:
    image, state = await stored(parts, ACME), state_of(parts)
    await stored(parts, OTHER)
    await parts.encoder.encode(ACME, image, PLAN, "")
    await parts.encoder.written()
    stats = await state.cache_stats()
    assert (stats.uploads, stats.records, stats.misses) == (2, 1, 1)


@pytest.mark.parametrize("purge", [False, True])
async def test_a_deletion_leaves_the_other_tenant_alone(parts: Parts, purge: bool) -> None:
    image, state = await stored(parts, ACME), state_of(parts)
    await stored(parts, OTHER)
    for tenant in (ACME, OTHER):
        await parts.encoder.encode(tenant, image, RANKED, "")
    await parts.encoder.written()
    gone = await (state.purge(ACME) if purge else state.delete(ACME, image))
    assert (gone.uploads, gone.records, gone.erasure) == (1, 1, Erasure.AFTER_COMPACTION)
    assert state.erasure_due
    with pytest.raises(ImageNotStored):
        await parts.encoder.encode(ACME, image, PLAN, "")
    assert (await parts.encoder.encode(OTHER, image, RANKED, "")).origin == "rows"
    await stored(parts, ACME)
    assert (await parts.encoder.encode(ACME, image, RANKED, "")).origin == "encoded"


async def test_purging_a_tenant_of_a_pool_deletes_the_rows_of_its_images(parts: Parts) -> None:
    image, state = await stored(parts, POOLED), state_of(parts)
    await parts.encoder.encode(POOLED, image, PLAN, "")
    await parts.encoder.written()
    gone = await state.purge(POOLED)
    assert (gone.uploads, gone.records) == (1, 1)


async def test_an_expired_upload_is_deleted_with_its_rows(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, state = await stored(parts, ACME), state_of(parts)
    await parts.encoder.encode(ACME, image, PLAN, "")
    await parts.encoder.written()
    later = time.time() + 2 * parts.uploads.policy.ttl_s
    monkeypatch.setattr("encoder_svc.uploads.time.time", lambda: later)
    gone = await state.delete(ACME, image)
    assert (gone.uploads, gone.records) == (1, 1)


def deleting(state: ServiceState, image: str) -> dict[str, Callable[[], Any]]:
    return {"delete": lambda: state.delete(ACME, image), "purge": lambda: state.purge(ACME)}


@pytest.mark.parametrize("how", ["delete", "purge"])
@pytest.mark.parametrize("plan", [PLAN, RANKED])
async def test_rows_that_are_computed_during_a_deletion_are_not_stored(
    parts: Parts, how: str, plan: EncodePlan
) -> None:
    image, state = await stored(parts, ACME), state_of(parts)
    parts.tower.gate.clear()
    call = asyncio.create_task(parts.encoder.encode(ACME, image, plan, ""))
    await in_the_tower(parts)
    await deleting(state, image)[how]()
    parts.tower.gate.set()
    await call
    await parts.encoder.written()
    assert nothing_left(parts.store)
    await stored(parts, ACME)
    assert (await parts.encoder.encode(ACME, image, plan, "")).origin == "encoded"


@pytest.mark.parametrize("how", ["delete", "purge"])
async def test_no_job_can_be_built_once_permits_are_revoked(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It would have a permit, and store its rows after the deletion."""
    image, state = await stored(parts, ACME), state_of(parts)
    revoke, refused = parts.permits.revoke, 0

    async def build_after(matches: Any) -> None:
        nonlocal refused
        await revoke(matches)
        with pytest.raises(ImageNotStored):
            await parts.encoder.jobs.build(ACME, image, PLAN, "")
        refused += 1

    monkeypatch.setattr(parts.permits, "revoke", build_after)
    await deleting(state, image)[how]()
    assert refused == 1


async def test_without_the_revocation_such_rows_stay(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of the test above is the revocation of permits, not the order of events."""

    async def revoke(matches: object) -> None:
        pass

    monkeypatch.setattr(parts.permits, "revoke", revoke)
    image, state = await stored(parts, ACME), state_of(parts)
    parts.tower.gate.clear()
    call = asyncio.create_task(parts.encoder.encode(ACME, image, PLAN, ""))
    await in_the_tower(parts)
    await state.delete(ACME, image)
    parts.tower.gate.set()
    await call
    await parts.encoder.written()
    assert not nothing_left(parts.store)


async def test_a_deletion_waits_for_a_write_that_has_begun(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, state = await stored(parts, ACME), state_of(parts)
    put, begun, go = parts.store.put, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(*arguments: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)
        return put(*arguments)

    monkeypatch.setattr(parts.store, "put", slow)
    await parts.encoder.encode(ACME, image, PLAN, "")
    await begun.wait()
    deletion = asyncio.create_task(state.delete(ACME, image))
    await asyncio.sleep(0.05)
    assert not deletion.done()
    go.set()
    assert (await deletion).records == 1
    assert nothing_left(parts.store)


def nothing_left(store: LmdbStore) -> bool:
    """Whether the store holds neither rows nor their sidecars."""
    return store.stats().total.rows.bytes == 0
