"""A second level on a cluster of three nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from bench.valkey_server import ClusterNode, cluster
from encoder_svc.errors import SharedCacheNotCleared
from encoder_svc.shared import servers as servers_module
from encoder_svc.shared.cache import SharedCache
from encoder_svc.shared.servers import Servers
from encoder_svc.store.keys import UploadKey
from tests.encoder.shared.opened import LIMITS, TENANT, count, opened, permit, until
from tests.encoder.store.samples import FIELDS, row_key, rows, same

pytestmark = pytest.mark.long
IMAGES = 60
FACTS = {"pixel_digest": "sha256:" + row_key(1).pixels.hex()}


@pytest.fixture
def nodes(valkey_program: None) -> Iterator[Sequence[ClusterNode]]:
    with cluster() as running:
        yield running


def urls(nodes: Sequence[ClusterNode]) -> list[str]:
    return [node.url for node in nodes]


def sizes(nodes: Sequence[ClusterNode]) -> list[int]:
    found = []
    for node in nodes:
        with node.client() as client:
            found.append(int(client.dbsize()))
    return found


async def fill(cache: SharedCache) -> None:
    for n in range(IMAGES):
        cache.put_rows(permit(), row_key(n), FIELDS, rows(n))
    await cache.written()


async def hits(cache: SharedCache) -> int:
    found = [await cache.rows(row_key(n), FIELDS) for n in range(IMAGES)]
    assert all(each is None or same(each, rows(n)) for n, each in enumerate(found))
    return sum(each is not None for each in found)


@pytest.mark.parametrize("named", [1, 3])
async def test_images_are_spread_over_the_nodes(nodes: Sequence[ClusterNode], named: int) -> None:
    """One node is enough to find the others."""
    async with opened(*urls(nodes)[:named]) as cache:
        await fill(cache)
        assert sum(sizes(nodes)) == IMAGES
        assert all(sizes(nodes))
        assert await hits(cache) == IMAGES
        assert (cache.stats().servers, cache.stats().servers_up) == (3, 3)


async def test_a_node_that_dies_costs_the_hits_of_its_images(nodes: Sequence[ClusterNode]) -> None:
    async with opened(*urls(nodes), rest_s=600) as cache:
        await fill(cache)
        left = sum(sizes(nodes[1:]))
        nodes[0].kill()
        assert await hits(cache) == left
        assert (cache.stats().servers, cache.stats().servers_up) == (3, 2)
        assert await hits(cache) == left


async def test_an_encoder_starts_although_the_first_node_is_dead(nodes: Sequence[ClusterNode]) -> None:
    async with opened(*urls(nodes)) as cache:
        await fill(cache)
    left = sum(sizes(nodes[1:]))
    nodes[0].kill()
    async with opened(*urls(nodes), rest_s=600) as cache:
        assert await hits(cache) == left


async def test_a_slot_that_moves_is_followed(nodes: Sequence[ClusterNode]) -> None:
    async with opened(*urls(nodes)) as cache:
        await fill(cache)
        cache._servers._by_slot = [cache._servers._by_slot[0]] * 16_384  # as if it had served them all
        assert await hits(cache) < IMAGES
        stats = cache.stats()
        assert stats.servers == stats.servers_up, "a node that does not serve a key is not down"
        await until(lambda: cache.stats().servers == 3)
        assert await hits(cache) == IMAGES


async def test_a_purge_reaches_every_node(nodes: Sequence[ClusterNode]) -> None:
    async with opened(*urls(nodes)) as cache:
        await fill(cache)
        for n in range(20):
            upload = UploadKey(TENANT.uploads, bytes([n]) * 32)
            cache.put_facts(TENANT, upload, row_key(n).pixels, FACTS, time.time() + 60)
        await cache.written()
        assert len(await cache.tenant_facts(TENANT.uploads)) == 20
        await cache.delete_tenant_facts(TENANT.uploads)
        await cache.delete_tenant_rows(TENANT.uploads)
        assert sizes(nodes) == [0, 0, 0]
        nodes[2].kill()
        with pytest.raises(SharedCacheNotCleared):
            await cache.delete_tenant_rows(TENANT.uploads)
        assert count(cache, "rows", "failed_checks") == 0


async def test_a_node_that_hides_its_host_is_that_which_was_asked() -> None:
    """With `cluster-preferred-endpoint-type unknown-endpoint`."""
    servers = Servers(["valkey://10.0.0.1:7001"], LIMITS)
    servers._assign([[0, 16_383, [None, 7002, b"id"]]], servers.nodes[0])
    assert [node.name for node in servers.nodes] == ["10.0.0.1:7002"]
    await servers.close()


async def test_slots_that_cannot_be_read_change_nothing(
    nodes: Sequence[ClusterNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(*_: object) -> list[object]:
        return [[0, b"many", None]]

    monkeypatch.setattr(servers_module, "_cluster_slots", odd)
    async with opened(nodes[0].url) as cache:
        assert cache.stats().servers == 1
