"""Two encoders that share a second level: what one has computed, the other serves without its tower."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench.valkey_server import ValkeyServer
from encoder_svc.errors import SharedCacheNotCleared
from encoder_svc.shared.cache import DELETED_S, SharedCache
from encoder_svc.state import ServiceState
from encoder_svc.store.keys import UploadKey
from encoder_svc.tenant import Tenant
from encoder_svc.texts import Texts
from encoder_svc.uploads import Intake
from fovea.contract.errors import ImageNotStored, TextReaderMissing
from fovea.contract.plan import EncodePlan, RowSelection
from tests.encoder.images.files import encoded, picture
from tests.encoder.parts import Parts, running
from tests.encoder.shared.opened import opener, until

ACME, OTHER = Tenant.of("acme"), Tenant.of("other")
POOLED, POOLED_OTHER = Tenant.of("acme", shares_rows=True), Tenant.of("other", shares_rows=True)
PLAN = EncodePlan(None)
RANKED = EncodePlan(None, rows=RowSelection(keep=0.5))
FLAT = EncodePlan(None, flat_tolerance=8)
DATA = encoded(picture(96, 64))


@pytest_asyncio.fixture
async def pair(valkey_server: ValkeyServer, tmp_path: Path) -> AsyncIterator[tuple[Parts, Parts]]:
    """Two encoders with stores of their own and a shared second level."""
    open_shared = opener([valkey_server.url])
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(running(tmp_path / name, open_shared=open_shared))
            for name in ("first", "second")
        ]
        yield first, second


def state_of(parts: Parts) -> ServiceState:
    """The state of a service over these parts."""
    description: Any = None
    state = ServiceState(description, parts.permits)
    missing = TextReaderMissing("off", "off")
    texts = Texts(parts.store, parts.uploads, missing, parts.permits, lambda result: None)
    state.open_store(parts.store, parts.uploads, texts, parts.shared)
    state.open(parts.encoder, None)
    return state


async def stored(parts: Parts, tenant: Tenant = ACME) -> str:
    return (await parts.keep(tenant, DATA)).facts.digest


async def written(parts: Parts) -> None:
    """Wait until both levels have what was computed."""
    await parts.encoder.written()
    shared = parts.shared
    assert isinstance(shared, SharedCache)
    await shared.written()


async def fill(parts: Parts, tenant: Tenant = ACME, *plans: EncodePlan) -> str:
    image = await stored(parts, tenant)
    for plan in plans or (PLAN,):
        await parts.encoder.encode(tenant, image, plan, "")
    await written(parts)
    return image


@pytest.mark.parametrize("plan", [PLAN, RANKED, FLAT])
async def test_a_new_encoder_serves_rows_without_its_tower(
    pair: tuple[Parts, Parts], plan: EncodePlan
) -> None:
    """By the id of the image, which it has never got."""
    first, second = pair
    image = await fill(first, ACME, plan)
    one = await first.encoder.encode(ACME, image, plan, "")
    two = await second.encoder.encode(ACME, image, plan, "")
    assert (two.origin, second.tower.computed, second.ranked) == ("rows", [], [])
    assert bytes(one.rows.data) == bytes(two.rows.data)
    assert one.rows.indices.tolist() == two.rows.indices.tolist()
    placed = await second.encoder.place(
        await second.encoder.jobs.build(ACME, image, plan, ""), stored_only=True
    )
    assert placed.known


async def test_rows_of_the_second_level_are_stored_in_the_first(pair: tuple[Parts, Parts]) -> None:
    first, second = pair
    image = await fill(first, ACME, RANKED)
    await second.encoder.encode(ACME, image, RANKED, "")
    await written(second)
    hits = dict(second.shared.stats().events)
    assert (await second.encoder.encode(ACME, image, RANKED, "")).origin == "rows"
    after = second.shared.stats().events
    for kind in ("rows", "rankings"):
        assert after[kind, "hits"] == hits[kind, "hits"] == 1


async def test_concurrent_callers_share_a_read(pair: tuple[Parts, Parts]) -> None:
    first, second = pair
    image = await fill(first)
    calls = [second.encoder.encode(ACME, image, PLAN, "") for _ in range(8)]
    assert {served.origin for served in await asyncio.gather(*calls)} == {"rows"}
    assert second.shared.stats().events["rows", "hits"] == 1


async def test_tenants_share_nothing_unless_they_are_pooled(pair: tuple[Parts, Parts]) -> None:
    first, second = pair
    image = await fill(first)
    with pytest.raises(ImageNotStored):
        await second.encoder.encode(OTHER, image, PLAN, "")
    await stored(second, OTHER)
    assert (await second.encoder.encode(OTHER, image, PLAN, "")).origin == "encoded"
    await fill(first, POOLED)
    await stored(second, POOLED_OTHER)
    assert (await second.encoder.encode(POOLED_OTHER, image, PLAN, "")).origin == "rows"


async def test_an_encoder_without_the_file_takes_it(pair: tuple[Parts, Parts]) -> None:
    """Facts of the second level must not make it refuse the bytes that it lacks."""
    first, second = pair
    image = await fill(first)
    with pytest.raises(ImageNotStored):
        await second.encoder.encode(ACME, image, FLAT, "")
    intake = Intake(second.uploads, ACME)
    assert await intake.announce(image, len(DATA)) is None
    await intake.add(DATA)
    assert not (await intake.finish()).already
    assert (await second.encoder.encode(ACME, image, FLAT, "")).origin == "encoded"


def left(server: ValkeyServer, deleted: bool) -> list[bytes]:
    """Keys of the server. `deleted` keeps the pixel digest of an image, which is left out here."""
    with server.client() as client:
        keys: list[bytes] = client.keys()  # type: ignore[assignment]
        kept = [key for key in keys if key.startswith(b"fovea:1:deleted:")]
        assert len(kept) == deleted
        assert all(0 < client.ttl(key) <= DELETED_S for key in kept)
    return [key for key in keys if key not in kept]


@pytest.mark.parametrize("tenant", [ACME, POOLED])
@pytest.mark.parametrize("on", ["the encoder of the image", "another"])
async def test_a_deletion_that_failed_can_be_repeated(
    pair: tuple[Parts, Parts],
    valkey_server: ValkeyServer,
    monkeypatch: pytest.MonkeyPatch,
    tenant: Tenant,
    on: str,
) -> None:
    """A node of a cluster that has the rows may be down while that of the facts is up."""
    first, second = pair
    image = await fill(first, tenant, RANKED)
    parts = first if on == "the encoder of the image" else second
    state = state_of(parts)
    with monkeypatch.context() as failing:
        failing.setattr(parts.shared, "delete_rows", raising)
        with pytest.raises(SharedCacheNotCleared):
            await state.delete(tenant, image)
    assert first.store.stats().total.uploads.records == (parts is second)
    await state.delete(tenant, image)
    assert left(valkey_server, deleted=True) == []


async def raising(*_: Any) -> None:
    raise SharedCacheNotCleared


@pytest.mark.parametrize("tenant", [ACME, POOLED])
async def test_an_encoder_that_missed_a_deletion_deletes_the_rows_that_it_fetched(
    pair: tuple[Parts, Parts], tenant: Tenant
) -> None:
    first, second = pair
    image = await fill(first, tenant)
    await second.encoder.encode(tenant, image, PLAN, "")
    await written(second)
    assert second.store.stats().total.rows.records
    await state_of(first).delete(tenant, image)
    assert (await state_of(second).delete(tenant, image)).records
    assert not second.store.stats().total.rows.records


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("tenant", [ACME, POOLED])
async def test_a_deletion_without_an_answer_is_not_confirmed(
    pair: tuple[Parts, Parts], valkey_server: ValkeyServer, purge: bool, tenant: Tenant
) -> None:
    """The encoder does not know the image, so only the server could tell what to delete."""
    first, second = pair
    image, state = await fill(first, tenant), state_of(second)
    valkey_server.kill()
    with pytest.raises(SharedCacheNotCleared):
        await (state.purge(tenant) if purge else state.delete(tenant, image))


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("tenant", [ACME, POOLED])
async def test_a_deletion_on_an_encoder_without_the_image_reaches_the_second_level(
    pair: tuple[Parts, Parts], valkey_server: ValkeyServer, purge: bool, tenant: Tenant
) -> None:
    """The encoder that had stored it may be gone."""
    first, second = pair
    image = await fill(first, tenant, RANKED)
    state = state_of(second)
    await (state.purge(tenant) if purge else state.delete(tenant, image))
    assert left(valkey_server, deleted=not purge) == []
    with pytest.raises(ImageNotStored):
        await second.encoder.encode(tenant, image, PLAN, "")


@pytest.mark.parametrize("purge", [False, True])
async def test_rows_that_wait_to_be_written_are_dropped_by_a_deletion(
    pair: tuple[Parts, Parts], valkey_server: ValkeyServer, purge: bool
) -> None:
    first, _ = pair
    state = state_of(first)
    first.tower.gate.clear()
    image = await stored(first)
    call = asyncio.create_task(first.encoder.encode(ACME, image, RANKED, ""))
    async with asyncio.timeout(20):
        while not first.encoder.cache.batcher.running:
            await asyncio.sleep(0.001)
    await (state.purge(ACME) if purge else state.delete(ACME, image))
    first.tower.gate.set()
    await call
    await written(first)
    assert left(valkey_server, deleted=not purge) == []


async def test_rows_that_are_read_during_a_deletion_are_not_stored(
    pair: tuple[Parts, Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    image, state = await fill(first), state_of(second)
    read, begun, go = second.shared.rows, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        rows = await read(*arguments)
        begun.set()
        await go.wait()
        return rows

    monkeypatch.setattr(second.shared, "rows", slow)
    call = asyncio.create_task(second.encoder.encode(ACME, image, PLAN, ""))
    await begun.wait()
    await state.delete(ACME, image)
    go.set()
    assert (await call).origin == "rows"
    await written(second)
    assert second.store.stats().total.rows.bytes == 0


async def test_without_a_server_a_deletion_clears_the_store_and_says_what_may_be_left(
    pair: tuple[Parts, Parts], valkey_server: ValkeyServer
) -> None:
    first, _ = pair
    image, state = await fill(first), state_of(first)
    valkey_server.kill()
    with pytest.raises(SharedCacheNotCleared):
        await state.delete(ACME, image)
    total = first.store.stats().total
    assert (total.rows.records, total.uploads.records) == (0, 0)
    with pytest.raises(SharedCacheNotCleared):
        await state.purge(ACME)


async def test_without_a_server_encoders_go_on(
    pair: tuple[Parts, Parts], valkey_server: ValkeyServer
) -> None:
    first, second = pair
    valkey_server.kill()
    image = await fill(first, ACME, RANKED)
    await stored(second)
    assert (await second.encoder.encode(ACME, image, RANKED, "")).origin == "encoded"
    assert (await first.encoder.encode(ACME, image, RANKED, "")).origin == "rows"


async def test_rows_that_the_server_has_lost_return_with_the_next_hit(
    pair: tuple[Parts, Parts], valkey_server: ValkeyServer
) -> None:
    first, second = pair
    image = await fill(first)
    valkey_server.kill()
    await stored(second)
    assert (await second.encoder.encode(ACME, image, PLAN, "")).origin == "encoded"
    assert await first.shared.facts(UploadKey.of(ACME.uploads, image)) is None, "it notices the loss"
    valkey_server.start()
    await until(lambda: first.shared.stats().servers_up == 1)
    with valkey_server.client() as client:
        assert client.keys() == []
        assert (await first.encoder.encode(ACME, image, PLAN, "")).origin == "rows"
        await written(first)
        assert len(client.keys()) == 1


async def test_rows_that_the_server_has_are_not_written_again(pair: tuple[Parts, Parts]) -> None:
    first, second = pair
    image = await fill(first)
    for _ in range(3):
        await first.encoder.encode(ACME, image, PLAN, "")
        await second.encoder.encode(ACME, image, PLAN, "")
        await written(first)
        await written(second)
    assert first.shared.stats().events["rows", "puts"] == 1
    assert ("rows", "puts") not in second.shared.stats().events
