"""Connections of strangers to the gateway: silent, slow, too many, or no HTTP at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.conftest import Served, gateway_of

MAX_CONNECTIONS = 4
WAIT_S = 20.0
NO_HTTP = b"\x16\x03\x01 no http\r\n\r\n"
pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bounded(served: Served) -> AsyncIterator[Served]:
    """A gateway with the tightest bounds."""
    async with gateway_of(served.house, header_s=1, max_connections=MAX_CONNECTIONS) as gateway:
        yield gateway


async def _sent(gateway: Served, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = gateway.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    return reader, writer


async def _answer(gateway: Served, data: bytes) -> bytes:
    """All that the gateway sends until it closes the connection."""
    reader, writer = await _sent(gateway, data)
    try:
        async with asyncio.timeout(WAIT_S):
            return await reader.read()
    finally:
        writer.close()


def _error(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


async def test_a_header_that_never_ends_is_refused(bounded: Served) -> None:
    status, error = _error(await _answer(bounded, b"GET /healthz HTTP/1.1\r\nx-slow: "))
    assert (status, error["code"]) == (408, "CALL_IDLE")
    assert "within 1 s" in error["message"]


async def test_a_header_in_drops_is_refused(bounded: Served) -> None:
    """Each byte would restart a timer of silence."""
    reader, writer = await _sent(bounded, b"GET /healthz HTTP/1.1\r\n")
    answer = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(WAIT_S):
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
    assert _error(answer.result())[0] == 408
    for _ in range(3):
        writer.write(b"x")
        await asyncio.sleep(0.05)
    assert not writer.is_closing(), "what came after the answer has reset the connection"
    writer.close()


async def test_the_header_of_a_second_request_is_timed_too(bounded: Served) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nhost: %s\r\n\r\n" % bounded.address.encode()
    reader, writer = await _sent(bounded, whole)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    async with asyncio.timeout(WAIT_S):
        assert _error(await reader.read())[0] == 408
    writer.close()


async def test_a_silent_connection_is_closed_without_an_answer(bounded: Served) -> None:
    assert await _answer(bounded, b"") == b""


async def test_an_idle_connection_lasts_longer_than_a_header_may_take(bounded: Served) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nhost: %s\r\n\r\n" % bounded.address.encode()
    reader, writer = await _sent(bounded, whole)
    await reader.readuntil(b"}")
    await asyncio.sleep(1.5)
    writer.write(whole)
    async with asyncio.timeout(WAIT_S):
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_one_connection_too_many_is_refused_and_the_others_serve(bounded: Served) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nhost: %s\r\n\r\n" % bounded.address.encode()
    held = [await _sent(bounded, whole) for _ in range(MAX_CONNECTIONS)]
    for reader, _ in held:
        await reader.readuntil(b"}")
    for sent in (b"", whole):
        status, error = _error(await _answer(bounded, sent))
        assert (status, error["code"]) == (429, "GATEWAY_BUSY")
        assert f"{MAX_CONNECTIONS} connections" in error["message"]
    for reader, writer in held:
        writer.write(whole)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_bytes_that_are_no_http_get_a_typed_error(bounded: Served) -> None:
    status, error = _error(await _answer(bounded, NO_HTTP))
    assert (status, error["code"]) == (400, "INVALID_ARGUMENT")


async def test_refused_connections_take_no_places_and_are_closed_although_their_peers_stay(
    bounded: Served,
) -> None:
    stayed: list[asyncio.StreamWriter] = []
    for _ in range(2 * MAX_CONNECTIONS):
        reader, writer = await _sent(bounded, NO_HTTP)
        assert await reader.read(12) == b"HTTP/1.1 400"
        stayed.append(writer)
    async with asyncio.timeout(WAIT_S):
        for writer in stayed:
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.05)


async def test_a_request_whose_body_is_no_http_ends_without_a_failure_of_the_application(
    bounded: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs already, and would wait for its body or answer a second time."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n"
    assert _error(await _answer(bounded, head + b"\r\nno chunk\r\n"))[0] == 400
    await asyncio.sleep(0.2)
    assert not [each.message for each in caplog.records if each.levelname == "ERROR"]
