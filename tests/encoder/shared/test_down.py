"""A server that dies, is silent, or was never there costs hits: no call fails, and at most one moment waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from valkey.exceptions import ResponseError

from bench.valkey_server import ValkeyServer
from encoder_svc.errors import SharedCacheNotCleared
from encoder_svc.shared.cache import SharedCache
from encoder_svc.store.keys import UploadKey
from tests.encoder.shared.opened import TENANT, count, opened, permit, until
from tests.encoder.store.samples import FIELDS, row_key, rows, same

UPLOAD = UploadKey(TENANT.uploads, b"i" * 32)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which connections are accepted and nothing answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield int(listener.getsockname()[1])


async def put(cache: SharedCache, n: int = 1) -> None:
    cache.put_rows(permit(), row_key(n), FIELDS, rows(n))
    await cache.written()


async def closes(cache: SharedCache) -> None:
    await until(lambda: cache.stats().servers_up == 1)


async def test_a_server_that_dies_costs_hits_until_it_is_back(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as cache:
        await put(cache)
        valkey_server.kill()
        assert await cache.rows(row_key(1), FIELDS) is None
        await put(cache)
        assert count(cache, "rows", "dropped_puts") == 1
        assert cache.stats().servers_up == 0
        valkey_server.start()
        await closes(cache)
        await put(cache)
        assert same(await cache.rows(row_key(1), FIELDS), rows(1))


async def test_a_refused_probe_is_an_answer(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a user who may not ping."""

    async def refuse(*_: object) -> None:
        raise ResponseError("NOPERM")

    async with opened(valkey_server.url) as cache:
        (node,) = cache._servers.nodes
        monkeypatch.setattr(node, "_execute", refuse)
        node.breaker.trip()
        await closes(cache)


async def test_a_server_that_comes_after_the_encoder_is_used(valkey_server: ValkeyServer) -> None:
    valkey_server.kill()
    async with opened(valkey_server.url) as cache:
        assert await cache.rows(row_key(1), FIELDS) is None
        valkey_server.start()
        await closes(cache)
        await put(cache)
        assert await cache.rows(row_key(1), FIELDS) is not None


async def test_a_silent_server_is_asked_by_the_calls_of_one_moment_only(valkey_server: ValkeyServer) -> None:
    """A call that would wait for it takes the whole limit, here 1 s; a hundred of them would end the test."""
    async with opened(valkey_server.url, read_s=1, write_s=1, rest_s=600) as cache:
        await put(cache)
        valkey_server.freeze()
        async with asyncio.timeout(20):
            calls = [cache.rows(row_key(1), FIELDS) for _ in range(4)]
            assert await asyncio.gather(*calls) == [None] * 4
            assert cache.stats().servers_up == 0
            for _ in range(100):
                assert await cache.rows(row_key(1), FIELDS) is None
            await put(cache)
        valkey_server.thaw()


async def test_a_server_rests_before_it_is_probed(valkey_server: ValkeyServer) -> None:
    """Else one that answers probes and no more would cost every call its limit."""
    async with opened(valkey_server.url, rest_s=600) as cache:
        await put(cache)
        (node,) = cache._servers.nodes
        node.breaker.trip()
        await asyncio.sleep(1)
        assert node.breaker.open
        assert await cache.rows(row_key(1), FIELDS) is None


async def test_waiting_for_other_calls_says_nothing_of_the_server(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url, connections=1, read_s=0.2) as cache:
        (node,) = cache._servers.nodes
        async with node._places:
            assert await cache.rows(row_key(1), FIELDS) is None
        assert not node.breaker.open
        assert count(cache, "servers", "errors") == 1


async def test_a_start_does_not_wait_for_a_silent_server(silent_port: int) -> None:
    async with asyncio.timeout(20):
        async with opened(f"valkey://127.0.0.1:{silent_port}", read_s=0.2, rest_s=600) as cache:
            assert await cache.rows(row_key(1), FIELDS) is None
            assert cache.stats().servers_up == 0


async def test_what_is_no_server_is_down(valkey_server: ValkeyServer) -> None:
    """Another protocol on the port."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        async with opened(f"valkey://127.0.0.1:{port}", rest_s=600) as cache:
            assert await cache.rows(row_key(1), FIELDS) is None
            assert cache.stats().servers_up == 0


async def test_a_wrong_password_is_a_server_that_is_down(valkey_server: ValkeyServer) -> None:
    with valkey_server.client() as client:
        client.config_set("requirepass", "right")
    url = valkey_server.url.replace("://", "://:{}@")
    async with opened(url.format("wrong"), rest_s=600) as cache:
        assert await cache.rows(row_key(1), FIELDS) is None
        assert cache.stats().servers_up == 0
    async with opened(url.format("right")) as cache:
        await put(cache)
        assert await cache.rows(row_key(1), FIELDS) is not None


async def test_a_deletion_that_is_not_confirmed_says_so(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as cache:
        await put(cache)
        valkey_server.kill()
        deletions = (
            cache.delete_rows(row_key(1).tenant, row_key(1).pixels),
            cache.delete_facts(UPLOAD, f"sha256:{row_key(1).pixels.hex()}"),
            cache.pixel_digest(UPLOAD),
            cache.delete_tenant_rows(TENANT.uploads),
            cache.tenant_facts(TENANT.uploads),
        )
        for deletion in deletions:
            with pytest.raises(SharedCacheNotCleared):
                await deletion


async def test_a_deletion_is_tried_although_the_breaker_is_open(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url, rest_s=600) as cache:
        await put(cache)
        (node,) = cache._servers.nodes
        node.breaker.trip()
        await cache.delete_rows(row_key(1).tenant, row_key(1).pixels)
    with valkey_server.client() as client:
        assert client.dbsize() == 0
