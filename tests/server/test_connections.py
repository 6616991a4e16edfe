"""Connections, their streams and metadata are bounded: at the limit they serve, one past it they do not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry, Gauge

from bench.fault_cases.raw_client import BEGINNINGS, PREFACE, SETTINGS, frame, half_message
from fovea.address import Address
from fovea.server import connections, guards, metrics_server
from fovea.server.connections import ConnectionLimits
from fovea.server.metrics_server import MetricsServer
from fovea.server.process import Binding, ServerProcess
from tests.e2e.failures import failure

END_S = 30.0
"""Bounds the wait for what must happen; without the limit under test, it would not within this time."""
ACKNOWLEDGED = PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=1)


class Counting:
    """A method that knows how many calls run at once."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0

    async def one(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.running += 1
        self.peak = max(self.peak, self.running)
        await asyncio.sleep(0.05)
        self.running -= 1
        return request


@asynccontextmanager
async def serving(counting: Counting | None = None, **limits: int) -> AsyncIterator[str]:
    handlers = {"One": grpc.unary_unary_rpc_method_handler((counting or Counting()).one)}
    process = ServerProcess(
        Binding("127.0.0.1:0", "", 1 << 20, connections=ConnectionLimits(**limits)),
        "test.Kit",
        lambda server: server.add_registered_method_handlers("test.Kit", handlers),
        CollectorRegistry(),
    )
    await process.start()
    try:
        yield f"127.0.0.1:{process.port}"
    finally:
        await process.drain(0)


async def opened(address: str, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        async with asyncio.timeout(END_S):
            while await reader.read(4096):
                pass
    except ConnectionResetError:
        pass


async def test_a_connection_too_many_is_closed_and_makes_no_call_wait() -> None:
    async with serving(max_connections=3) as address, grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/test.Kit/One")
        assert await call(b"x", timeout=END_S) == b"x"
        within = [await opened(address, ACKNOWLEDGED) for _ in range(2)]
        past, _ = await opened(address, ACKNOWLEDGED)
        assert await asyncio.wait_for(past.read(1), END_S) == b""
        for reader, _ in within:
            assert await asyncio.wait_for(reader.read(1), END_S)  # the server's settings
        assert await call(b"y", timeout=END_S) == b"y"


@pytest.mark.parametrize("number", range(len(BEGINNINGS)))
async def test_a_connection_without_a_handshake_is_closed(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_MS", 300)
    async with serving() as address:
        reader, _ = await opened(address, BEGINNINGS[number])
        await until_closed(reader)


async def test_a_connection_without_calls_is_closed() -> None:
    async with serving(connection_idle_s=1) as address:
        reader, _ = await opened(address, ACKNOWLEDGED)
        await until_closed(reader)


async def test_half_a_message_holds_no_server() -> None:
    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        _, writer = await opened(address, half_message("/test.Kit/One", address))
        assert await channel.unary_unary("/test.Kit/One")(b"x", timeout=END_S) == b"x"
        writer.close()


@pytest.mark.parametrize("limit", [2, 3])
async def test_calls_beyond_the_streams_of_a_connection_wait_and_are_served(limit: int) -> None:
    counting = Counting()
    async with (
        serving(counting, max_connection_streams=limit) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        call = channel.unary_unary("/test.Kit/One")
        await call(b"x", timeout=END_S)  # the client learns the limit with the server's settings
        calls = [call(bytes([number]), timeout=END_S) for number in range(8)]
        assert await asyncio.gather(*calls) == [bytes([number]) for number in range(8)]
    assert counting.peak == limit


async def test_metadata_has_an_exact_limit() -> None:
    """The core's own default refuses some calls between two limits at random."""
    limit = 4096

    async def accepted(call: Any, size: int) -> bool:
        made = call(b"x", metadata=(("x-a", "a" * size),))  # a timeout would be metadata of varying length
        code = await asyncio.wait_for(made.code(), END_S)
        assert code in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
        return code is grpc.StatusCode.OK

    async with serving(max_metadata_bytes=limit) as address, grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/test.Kit/One")
        low, high = 0, limit
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await accepted(call, middle) else (low, middle)
        assert limit - low < 1024  # of other headers
        assert [await accepted(call, size) for size in (low, low + 1) * 3] == [True, False] * 3
        assert not await accepted(call, 64 * 1024)


async def test_public_streams_are_bounded_and_calls_go_on() -> None:
    async with serving(max_public_streams=2) as address, grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="liveness")
        watches = [stub.Watch(request) for _ in range(2)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        error = await failure(stub.Watch(request, timeout=END_S))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
        assert (error.metadata["limit"], error.metadata["actual"]) == ("2", "3")
        assert error.retry_s
        assert (await stub.Check(request, timeout=END_S)).status == health_pb2.HealthCheckResponse.SERVING
        watches[0].cancel()
        async with asyncio.timeout(END_S):
            while not await _watched(stub, request):
                await asyncio.sleep(0.01)
        watches[1].cancel()


async def test_a_public_call_without_a_message_ends_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's health check that sends nothing; the idle time of other calls is a minute."""
    monkeypatch.setattr(guards, "PUBLIC_IDLE_S", 0.2)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_unary("/grpc.health.v1.Health/Check")(nothing(), timeout=END_S)
        assert (await failure(call)).reason == "CALL_IDLE"


async def _watched(stub: Any, request: Any) -> bool:
    watch = stub.Watch(request)
    try:
        return await watch.read() is not grpc.aio.EOF
    except grpc.aio.AioRpcError:
        return False
    finally:
        watch.cancel()


async def test_the_metrics_server_bounds_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "MAX_CONNECTIONS", 2)
    server = await MetricsServer.start(Address("127.0.0.1", 0), CollectorRegistry())
    assert server._server is not None
    host, port = server._server.sockets[0].getsockname()
    silent = [await opened(f"{host}:{port}") for _ in range(2)]
    past, _ = await opened(f"{host}:{port}")
    assert await asyncio.wait_for(past.read(), END_S) == b""
    for _, writer in silent:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(END_S):
        while not await _scraped(f"{host}:{port}"):
            await asyncio.sleep(0.01)
    await server.close()


async def test_metrics_are_collected_in_the_loop_and_encoded_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, registry, encoded_in = threading.get_ident(), CollectorRegistry(), []
    gauge = Gauge("reads_the_loop", "1 if it is read in the loop's thread.", registry=registry)
    gauge.set_function(lambda: float(threading.get_ident() == loop))
    choose = metrics_server.choose_encoder

    def watched(accept: str) -> tuple[Callable[[Any], bytes], str]:
        encode, content_type = choose(accept)

        def recorded(collected: Any) -> bytes:
            encoded_in.append(threading.get_ident())
            return bytes(encode(collected))

        return recorded, content_type

    monkeypatch.setattr(metrics_server, "choose_encoder", watched)
    server = await MetricsServer.start(Address("127.0.0.1", 0), registry)
    assert server._server is not None
    host, port = server._server.sockets[0].getsockname()
    reader, writer = await opened(f"{host}:{port}", b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b"\nreads_the_loop 1.0\n" in await asyncio.wait_for(reader.read(), END_S)
    assert encoded_in
    assert loop not in encoded_in
    writer.close()
    await server.close()


async def _scraped(address: str) -> bool:
    reader, _ = await opened(address, b"GET /metrics HTTP/1.1\r\n\r\n")
    return (await reader.read()).startswith(b"HTTP/1.1 200")
