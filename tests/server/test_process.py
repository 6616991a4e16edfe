"""A server process: a port in use is refused, draining lets running calls finish."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from fovea.server.call import Call, Layer
from fovea.server.entry import StoppedWhileLoading
from fovea.server.process import SIGNALS, Binding, ServerProcess
from tests.e2e.house import free_address


def made(
    listen: str,
    metrics: str = "",
    begun: asyncio.Event | None = None,
    takes_s: float = 1.0,
    layers: Sequence[Layer] = (),
    health: str = "",
) -> ServerProcess:
    """A server with a single slow method, which signals that it has started."""

    async def slow(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if begun is not None:
            begun.set()
        await asyncio.sleep(takes_s)
        return b"done"

    handlers = {"Slow": grpc.unary_unary_rpc_method_handler(slow)}
    generic = grpc.method_handlers_generic_handler("test.Slow", handlers)
    return ServerProcess(
        Binding(listen, metrics, 1 << 20, own_layers=layers, health_listen=health),
        "test.Slow",
        lambda server: server.add_generic_rpc_handlers((generic,)),
        CollectorRegistry(),
    )


async def test_a_port_in_use_is_refused_not_shared() -> None:
    first = made("127.0.0.1:0")
    await first.start()
    try:
        with pytest.raises(OSError, match="in use"):
            await made(f"127.0.0.1:{first.port}").start()
    finally:
        await first.drain(0)


async def test_a_metrics_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = made("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="metrics"):
            await server.start()
        await server.drain(0)


async def test_a_health_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = made("127.0.0.1:0", health=address)
        with pytest.raises(OSError, match=address):
            await server.start()
        await server.drain(0)


async def test_the_health_port_serves_health_alone_until_the_last_call_has_ended() -> None:
    address, probed, begun = free_address(), free_address(), asyncio.Event()
    server = made(address, begun=begun, health=probed)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel, grpc.aio.insecure_channel(probed) as probes:
        health = health_pb2_grpc.HealthStub(probes)

        async def status(service: str) -> int:
            return (await health.Check(health_pb2.HealthCheckRequest(service=service))).status

        assert await status("readiness") == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.ready()
        assert await status("readiness") == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await probes.unary_unary("/test.Slow/Slow")(b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        call = asyncio.ensure_future(channel.unary_unary("/test.Slow/Slow")(b""))
        await begun.wait()
        draining = asyncio.create_task(server.drain(10))
        await asyncio.sleep(0)
        assert await status("readiness") == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await status("liveness") == health_pb2.HealthCheckResponse.SERVING
        assert not call.done()
        assert await call == b"done"
        await draining


async def test_draining_tells_health_first_then_lets_running_calls_end_and_takes_no_new_one() -> None:
    address, begun = free_address(), asyncio.Event()
    server = made(address, begun=begun)
    await server.start()
    await server.ready()
    async with grpc.aio.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = channel.unary_unary("/test.Slow/Slow")(b"")
        waiting = asyncio.ensure_future(call)
        await begun.wait()
        draining = asyncio.create_task(server.drain(10))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not call.done()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/test.Slow/Slow")(b"")
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await waiting == b"done"
        await draining


async def test_a_health_watch_does_not_hold_up_the_draining() -> None:
    """Load balancers watch forever; waiting for them would use up the grace period."""
    address = free_address()
    server = made(address)
    await server.start()
    await server.ready()
    async with grpc.aio.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        await watch.read()
        async with asyncio.timeout(30):
            await server.drain(600)


async def test_a_call_that_is_cut_has_ended_before_the_drain_returns() -> None:
    """So its record and its span are there when ledger and traces close."""
    address, begun, ended = free_address(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def lingers(call: Call) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.3)
            ended.set()

    server = made(address, begun=begun, takes_s=600, layers=(lingers,))
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        waiting = asyncio.ensure_future(channel.unary_unary("/test.Slow/Slow")(b""))
        await begun.wait()
        await server.drain(0)
        assert ended.is_set()
        with pytest.raises(grpc.aio.AioRpcError):
            await waiting


@pytest.fixture
def _signals_restored() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("_signals_restored")
async def test_a_second_signal_ends_running_calls_and_a_third_has_its_default_effect() -> None:
    address, begun = free_address(), asyncio.Event()
    server = made(address, begun=begun, takes_s=600)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/test.Slow/Slow")(b"")
        waiting = asyncio.ensure_future(call)
        await begun.wait()
        server.stop()
        draining = asyncio.create_task(server.drain(600))
        await asyncio.sleep(0.1)
        assert not draining.done()
        server.stop()
        async with asyncio.timeout(60):
            await draining
        with pytest.raises(grpc.aio.AioRpcError):
            await waiting
    assert [signal.getsignal(signum) for signum in SIGNALS] == [signal.SIG_DFL] * len(SIGNALS)


async def test_work_is_cancelled_on_stop() -> None:
    server = made("127.0.0.1:0")
    asyncio.get_running_loop().call_soon(server.stop)
    with pytest.raises(StoppedWhileLoading):
        await server.unless_stopped(asyncio.sleep(60))


async def test_a_failure_while_loading_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        await made("127.0.0.1:0").unless_stopped(fails())


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("calling", [True, False], ids=["during a call", "without calls"])
async def test_a_client_may_ping_every_ten_seconds(calling: bool) -> None:
    """The minimum interval of grpc-go, suggested by its keepalive guide.

    A stricter server sends GOAWAY too_many_pings at the third ping, which ends the connection's calls.
    """
    address = free_address()
    server = made(address)
    await server.start()
    await server.ready()
    pinging = (
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    async with grpc.aio.insecure_channel(address, options=pinging) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="readiness"))
        await watch.read()
        if not calling:
            watch.cancel()
        states = []
        reading = asyncio.create_task(_follow(channel, states))
        await asyncio.sleep(45)
        reading.cancel()
        assert not calling or not watch.done()
        assert states == [grpc.ChannelConnectivity.READY]
    await server.drain(0)


async def _follow(channel: grpc.aio.Channel, states: list[grpc.ChannelConnectivity]) -> None:
    """Every state of the channel, in order."""
    states.append(channel.get_state())
    while True:
        await channel.wait_for_state_change(states[-1])
        states.append(channel.get_state())


async def test_a_failure_ends_the_wait_and_a_stop_ends_the_watching() -> None:
    async def fails() -> ValueError:
        return ValueError("the engine died")

    with pytest.raises(ValueError, match="the engine died"):
        await made("127.0.0.1:0").until_stopped(fails())

    async def never() -> ValueError:
        try:
            return await asyncio.Event().wait()
        finally:
            left.set()

    server, left = made("127.0.0.1:0"), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, server.stop)
    await server.until_stopped(never())
    async with asyncio.timeout(10):
        await left.wait()
