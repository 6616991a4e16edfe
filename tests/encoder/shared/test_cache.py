"""The second level on a real server: what was written is read as it was, or not at all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from valkey import Valkey

from bench.valkey_server import ValkeyServer
from encoder_svc.permits import WritePermits
from encoder_svc.shared.cache import MAX_IMAGE_FIELDS, SharedCache
from encoder_svc.shared.keys import address, image_key
from encoder_svc.store.keys import RowKey, UploadKey, tenant_id, variant
from encoder_svc.tenant import Tenant
from tests.encoder.shared.opened import TENANT, count, opened, permit
from tests.encoder.store.samples import BOB, FIELDS, KIB, row_key, rows, same

UPLOAD = UploadKey(TENANT.uploads, b"i" * 32)
PIXELS = row_key(1).pixels
FACTS = {"pixel_digest": "sha256:" + PIXELS.hex(), "width": 64}
PLACE = address("rows", row_key(1).raw)


@pytest_asyncio.fixture
async def cache(valkey_server: ValkeyServer) -> AsyncIterator[SharedCache]:
    async with opened(valkey_server.url) as made:
        yield made


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Valkey]:
    with valkey_server.client() as plain:
        yield plain


async def put(cache: SharedCache, n: int = 1, size: int = 600 * KIB) -> None:
    cache.put_rows(permit(), row_key(n), FIELDS, rows(n, size))
    await cache.written()


@pytest.mark.parametrize("size", [KIB, 64 * KIB, 256 * KIB, 5 * 1024 * KIB])
async def test_rows_are_read_as_they_were_written(cache: SharedCache, size: int) -> None:
    assert await cache.rows(row_key(1), FIELDS) is None
    await put(cache, size=size)
    assert same(await cache.rows(row_key(1), FIELDS), rows(1, size))
    assert [count(cache, "rows", event) for event in ("misses", "puts", "hits")] == [1, 1, 1]


async def test_rows_of_another_tenant_image_or_plan_are_a_miss(cache: SharedCache) -> None:
    await put(cache)
    other = FIELDS | {"revision": 4}
    assert await cache.rows(row_key(1, BOB), FIELDS) is None
    assert await cache.rows(row_key(2), FIELDS) is None
    assert await cache.rows(RowKey(row_key(1).tenant, PIXELS, variant(other)), other) is None
    assert count(cache, "rows", "failed_checks") == 0


async def test_facts_of_rows_are_read_without_the_rows(cache: SharedCache, client: Valkey) -> None:
    await put(cache)
    client.hset(PLACE.key, PLACE.data, b"")
    facts = await cache.row_facts(row_key(1), FIELDS)
    assert facts is not None
    assert facts.grid_thw == rows(1, 600 * KIB).grid_thw


async def test_sidecars_lie_beside_their_rows(cache: SharedCache, client: Valkey) -> None:
    await put(cache)
    cache.put_sidecar(permit(), row_key(1), "scope.1", FIELDS, b"order")
    await cache.written()
    found = await cache.sidecar(row_key(1), "scope.1", FIELDS)
    assert found is not None
    assert bytes(found) == b"order"
    assert await cache.sidecar(row_key(1), "stride.1", FIELDS) is None
    assert client.keys() == [PLACE.key], "one key: one command deletes all of an image"


async def test_facts_of_an_image_expire_with_it(cache: SharedCache, client: Valkey) -> None:
    cache.put_facts(TENANT, UPLOAD, PIXELS, FACTS, time.time() + 60)
    await cache.written()
    assert await cache.facts(UPLOAD) == FACTS
    assert await cache.tenant_facts(TENANT.uploads) == [FACTS]
    assert await cache.tenant_facts(BOB) == []
    assert 0 < client.ttl(image_key("facts", UPLOAD.raw)) <= 60


async def test_rows_expire_after_the_setting(cache: SharedCache, client: Valkey) -> None:
    await put(cache)
    assert 0 < client.ttl(PLACE.key) <= 3600


async def test_without_a_bound_rows_do_not_expire(valkey_server: ValkeyServer, client: Valkey) -> None:
    async with opened(valkey_server.url, ttl_s=0) as cache:
        await put(cache)
    assert client.ttl(PLACE.key) == -1


def flip(client: Valkey, field: bytes, at: int) -> None:
    value = bytearray(client.hget(PLACE.key, field) or b"")
    value[at] ^= 1
    client.hset(PLACE.key, field, bytes(value))


def swap(client: Valkey) -> None:
    other = address("rows", row_key(2).raw)
    client.hset(PLACE.key, mapping={PLACE.head: client.hget(other.key, other.head),
                                    PLACE.data: client.hget(other.key, other.data)})  # fmt: skip


DAMAGE: dict[str, Callable[[Valkey], object]] = {
    "first byte": lambda client: flip(client, PLACE.data, 0),
    "last byte": lambda client: flip(client, PLACE.data, -1),
    "header": lambda client: flip(client, PLACE.head, 30),
    "cut": lambda client: client.hset(
        PLACE.key, PLACE.data, (client.hget(PLACE.key, PLACE.data) or b"")[:-1]
    ),
    "empty header": lambda client: client.hset(PLACE.key, PLACE.head, b""),
    "a record of another image": swap,
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_record_is_deleted_and_never_served(
    cache: SharedCache, client: Valkey, damage: str
) -> None:
    await put(cache)
    await put(cache, 2)
    DAMAGE[damage](client)
    assert await cache.rows(row_key(1), FIELDS) is None
    assert count(cache, "rows", "failed_checks") == 1
    assert client.hlen(PLACE.key) == 0
    await put(cache)
    assert same(await cache.rows(row_key(1), FIELDS), rows(1, 600 * KIB))


async def test_half_a_record_is_a_miss(cache: SharedCache, client: Valkey) -> None:
    await put(cache)
    client.hdel(PLACE.key, PLACE.data)
    assert await cache.rows(row_key(1), FIELDS) is None


async def test_a_value_of_another_type_costs_a_hit(cache: SharedCache, client: Valkey) -> None:
    client.set(PLACE.key, b"no hash")
    assert await cache.rows(row_key(1), FIELDS) is None
    await put(cache)
    assert count(cache, "rows", "dropped_puts") == 1
    assert cache.stats().servers_up == 1, "a refusal is an answer"


async def test_a_full_server_drops_rows_and_goes_on(valkey_server: ValkeyServer, client: Valkey) -> None:
    async with opened(valkey_server.url) as cache:
        await put(cache)
        client.config_set("maxmemory-policy", "noeviction")  # first, or it would evict everything
        client.config_set("maxmemory", 1)
        await put(cache, 2)
        assert count(cache, "rows", "dropped_puts") == 1
        assert same(await cache.rows(row_key(1), FIELDS), rows(1, 600 * KIB))
        assert cache.stats().servers_up == 1


async def test_the_server_evicts_by_its_policy(valkey_server: ValkeyServer, client: Valkey) -> None:
    client.config_set("maxmemory", 16 * 1024 * KIB)
    async with opened(valkey_server.url) as cache:
        for n in range(40):
            await put(cache, n, 1024 * KIB)
        found = [await cache.rows(row_key(n), FIELDS) for n in range(40)]
    assert same(found[39], rows(39, 1024 * KIB))
    assert 0 < sum(each is not None for each in found) < 16


async def test_a_full_queue_drops_rows(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url, queue_bytes=1024 * KIB) as cache:
        for n in range(3):
            cache.put_rows(permit(), row_key(n), FIELDS, rows(n, 400 * KIB))
        assert 0 < cache.stats().queue_bytes <= 1024 * KIB
        await cache.written()
        assert [count(cache, "rows", event) for event in ("puts", "dropped_puts")] == [2, 1]
        assert cache.stats().queue_bytes == 0


async def test_the_end_of_an_encoder_writes_what_waits(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as cache:
        cache.put_rows(permit(), row_key(1), FIELDS, rows(1))
    async with opened(valkey_server.url) as cache:
        assert same(await cache.rows(row_key(1), FIELDS), rows(1))


async def test_an_image_with_too_many_records_starts_anew(cache: SharedCache, client: Valkey) -> None:
    for number in range(MAX_IMAGE_FIELDS // 2):
        cache.put_sidecar(permit(), row_key(1), f"{number}", FIELDS, b"")
    await cache.written()
    assert client.hlen(PLACE.key) == MAX_IMAGE_FIELDS
    cache.put_sidecar(permit(), row_key(1), "another", FIELDS, b"")
    await cache.written()
    assert client.hlen(PLACE.key) == 0


async def test_a_deletion_takes_all_records_of_an_image_and_no_others(cache: SharedCache) -> None:
    for n in (1, 2):
        await put(cache, n)
    cache.put_sidecar(permit(), row_key(1), "scope.1", FIELDS, b"order")
    await cache.written()
    await cache.delete_rows(row_key(1).tenant, PIXELS)
    assert await cache.rows(row_key(1), FIELDS) is None
    assert await cache.sidecar(row_key(1), "scope.1", FIELDS) is None
    assert await cache.rows(row_key(2), FIELDS) is not None


async def test_what_is_kept_of_a_deleted_image_is_its_pixel_digest(
    cache: SharedCache, client: Valkey
) -> None:
    kept = image_key("deleted", UPLOAD.raw)
    assert await cache.pixel_digest(UPLOAD) is None
    cache.put_facts(TENANT, UPLOAD, PIXELS, FACTS, time.time() + 60)
    await cache.written()
    assert await cache.pixel_digest(UPLOAD) == FACTS["pixel_digest"]
    await cache.delete_facts(UPLOAD, str(FACTS["pixel_digest"]))
    assert client.keys() == [kept]
    assert await cache.pixel_digest(UPLOAD) == FACTS["pixel_digest"]
    client.hset(kept, "pixels", b"\xff no digest")  # type: ignore[arg-type]
    assert await cache.pixel_digest(UPLOAD) is None


async def test_a_purge_takes_everything_of_a_tenant_and_nothing_of_others(
    cache: SharedCache, client: Valkey
) -> None:
    """More keys than a page of the server's scan has."""
    for n in range(1200):
        cache.put_sidecar(permit(), row_key(n), "small", FIELDS, b"")
    cache.put_rows(permit(Tenant.of("bob")), row_key(1, BOB), FIELDS, rows(1))
    cache.put_facts(TENANT, UPLOAD, PIXELS, FACTS, time.time() + 60)
    await cache.written()
    assert client.dbsize() == 1202
    await cache.delete_tenant_facts(tenant_id("alice"))
    await cache.delete_tenant_rows(tenant_id("alice"))
    assert client.keys() == [image_key("rows", BOB + PIXELS)]


async def test_rows_without_a_permit_are_not_written(valkey_server: ValkeyServer, client: Valkey) -> None:
    permits = WritePermits()
    async with opened(valkey_server.url, permits=permits) as cache:
        granted = permits.issue(TENANT)
        cache.put_rows(granted, row_key(1), FIELDS, rows(1))
        cache.put_facts(TENANT, UPLOAD, PIXELS, FACTS, time.time() + 60)
        await permits.revoke(lambda each: each.covers(TENANT, PIXELS))
        await cache.written()
    assert client.dbsize() == 0
