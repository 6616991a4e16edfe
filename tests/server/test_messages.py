"""Callers that send no message, malformed messages, or stop sending and reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1.health_pb2 import HealthCheckRequest as Message
from prometheus_client import CollectorRegistry

from fovea.server.call import CallInterceptor
from fovea.server.guards import RequestLimits
from fovea.server.metrics import CallMetrics
from tests.e2e.failures import Failure, failure

GARBAGE = b"\xff\xff\xff"
IDLE_S = 0.3
LIMITS = RequestLimits(IDLE_S, max_bytes=8_000_000, max_fields=1000)
KINDS = ("One", "Many", "Taken", "Both")
# A small window, so that one large response is more than gRPC takes without a reader.
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))


class Handlers:
    """A method of each kind; the name in a request selects what `Many` answers."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def one(self, request: Message, context: Any) -> Message:
        return request

    async def many(self, request: Message, context: Any) -> AsyncIterator[Message]:
        try:
            if request.service == "late":
                await asyncio.sleep(2 * IDLE_S)
            for _ in range(8 if request.service == "much" else 1):
                yield Message(service="x" * 1_000_000 if request.service == "much" else "x")
        finally:
            self.ended.set()

    async def taken(self, requests: AsyncIterator[Message], context: Any) -> Message:
        return Message(service="".join([request.service async for request in requests]))

    async def both(self, requests: AsyncIterator[Message], context: Any) -> AsyncIterator[Message]:
        async for request in requests:
            yield request

    @property
    def by_name(self) -> dict[str, grpc.RpcMethodHandler]:
        coders = {
            "request_deserializer": Message.FromString,
            "response_serializer": Message.SerializeToString,
        }
        return {
            "One": grpc.unary_unary_rpc_method_handler(self.one, **coders),
            "Many": grpc.unary_stream_rpc_method_handler(self.many, **coders),
            "Taken": grpc.stream_unary_rpc_method_handler(self.taken, **coders),
            "Both": grpc.stream_stream_rpc_method_handler(self.both, **coders),
        }


class Kit:
    """A server of these methods, and a caller that sends arbitrary bytes."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        registry: CollectorRegistry,
        handlers: Handlers,
        interceptor: CallInterceptor,
    ) -> None:
        self.interceptor = interceptor
        self.channel = channel
        self.registry = registry
        self.handlers = handlers

    def call(self, method: str, requests: Any, **options: Any) -> Any:
        make = self.channel.stream_stream if method in ("Many", "Both") else self.channel.stream_unary
        return make(f"/test.Kit/{method}", response_deserializer=Message.FromString)(requests, **options)

    async def failure(self, method: str, *requests: bytes) -> Failure:
        return await failure(self.call(method, iter(requests), timeout=30))

    def counted(self, name: str, method: str, **labels: str) -> float:
        labels |= {"grpc_service": "test.Kit", "grpc_method": method}
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest_asyncio.fixture(loop_scope="session")
async def kit() -> AsyncIterator[Kit]:
    registry, handlers = CollectorRegistry(), Handlers()
    interceptor = CallInterceptor(CallMetrics(registry), LIMITS)
    server = grpc.aio.server(interceptors=(interceptor,))
    server.add_registered_method_handlers("test.Kit", handlers.by_name)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=SMALL_WINDOW) as channel:
        yield Kit(channel, registry, handlers, interceptor)
    await server.stop(0)


async def trickle(*before: bytes) -> AsyncIterator[bytes]:
    """Requests that never end and are never idle."""
    for message in before:
        yield message
    while True:
        await asyncio.sleep(IDLE_S / 6)
        yield b""


async def never(*before: bytes) -> AsyncIterator[bytes]:
    for message in before:
        yield message
    await asyncio.Event().wait()


@pytest.mark.parametrize("method", KINDS)
async def test_malformed_messages_are_refused_and_counted(kit: Kit, method: str) -> None:
    error = await kit.failure(method, GARBAGE)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert error.metadata == {"method": f"/test.Kit/{method}"}
    async with asyncio.timeout(30):  # a call is counted after its status is sent
        while not kit.counted("grpc_server_handled_total", method, grpc_code="INVALID_ARGUMENT"):
            await asyncio.sleep(0.01)
    assert kit.counted("grpc_server_handled_total", method, grpc_code="INVALID_ARGUMENT") == 1


@pytest.mark.parametrize("method", ["Taken", "Both"])
async def test_later_messages_are_checked_too(kit: Kit, method: str) -> None:
    error = await kit.failure(method, Message(service="fine").SerializeToString(), GARBAGE)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")


@pytest.mark.parametrize("method", ["One", "Many"])
async def test_a_call_that_ends_without_its_request_is_answered(kit: Kit, method: str) -> None:
    error = await kit.failure(method)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "without a request" in error.message


@pytest.mark.parametrize("method", ["Taken", "Both"])
async def test_an_empty_request_stream_reaches_the_handler(kit: Kit, method: str) -> None:
    call = kit.call(method, iter(()), timeout=30)
    assert [message async for message in call] == [] if method == "Both" else await call == Message()


@pytest.mark.parametrize("method", KINDS)
async def test_an_idle_caller_is_disconnected(kit: Kit, method: str) -> None:
    error = await failure(kit.call(method, never()))
    assert (error.code, error.reason) == ("ABORTED", "CALL_IDLE")
    assert error.metadata == {"limit": str(IDLE_S), "waited_for": "send"}
    assert kit.counted("fovea_server_idle_calls_total", method, waited_for="send") == 1


async def test_a_caller_that_stops_sending_midway_is_disconnected(kit: Kit) -> None:
    error = await failure(kit.call("Taken", never(Message().SerializeToString())))
    assert (error.code, error.reason) == ("ABORTED", "CALL_IDLE")


async def test_a_bidirectional_stream_may_be_idle_after_its_first_request(kit: Kit) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield Message(service="a").SerializeToString()
        await asyncio.sleep(2 * IDLE_S)
        yield Message(service="b").SerializeToString()

    assert [reply.service async for reply in kit.call("Both", slowly(), timeout=30)] == ["a", "b"]


async def test_a_call_without_reader_ends_and_its_status_is_delivered_later(kit: Kit) -> None:
    """The handler's resources are released at once; the status follows the messages already sent."""
    call = kit.call("Many", iter((Message(service="much").SerializeToString(),)), timeout=30)
    await call.read()
    async with asyncio.timeout(30):
        await kit.handlers.ended.wait()
        while not kit.counted("grpc_server_handled_total", "Many", grpc_code="ABORTED"):
            await asyncio.sleep(0.01)
    assert kit.counted("fovea_server_idle_calls_total", "Many", waited_for="read") == 1

    async def rest() -> AsyncIterator[Message]:
        while (message := await call.read()) is not grpc.aio.EOF:
            yield message

    error = await failure(rest())
    assert (error.code, error.reason, error.metadata["waited_for"]) == ("ABORTED", "CALL_IDLE", "read")


async def test_a_handler_may_take_longer_than_a_caller(kit: Kit) -> None:
    """Only the caller's silence is bounded; a response may take up to its deadline."""
    late = iter((Message(service="late").SerializeToString(),))
    assert [reply.service async for reply in kit.call("Many", late, timeout=30)] == ["x"]


@pytest.mark.parametrize("method", KINDS)
async def test_disconnecting_callers_are_not_logged_as_defects(
    kit: Kit, method: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def requests() -> Iterator[bytes]:
        yield Message(service="much").SerializeToString()

    for turn in range(60):
        call = kit.call(method, requests(), timeout=30)
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        call.cancel()
    await kit.call("One", requests(), timeout=30)
    for code in ("INTERNAL", "UNKNOWN", "INVALID_ARGUMENT"):
        assert kit.counted("grpc_server_handled_total", method, grpc_code=code) == 0
    assert "Traceback" not in caplog.text + "".join(capsys.readouterr())


@pytest.mark.parametrize("kind", ["One", "Taken"])
async def test_requests_of_running_calls_hold_a_bounded_number_of_bytes(kit: Kit, kind: str) -> None:
    """Uploads that never end hold their bytes, and the next large request is refused with advice."""
    part = Message(service="x" * 1_000_000).SerializeToString()
    held = [kit.call("Taken", trickle(*[part] * 3)) for _ in range(2)]
    in_flight = kit.interceptor._in_flight
    async with asyncio.timeout(30):
        while in_flight.used < 6 * len(part):
            await asyncio.sleep(0.01)
    error = await kit.failure(kind, *([part, part] if kind == "Taken" else [part + part]))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
    assert error.retry_s
    for call in held:
        call.cancel()
    async with asyncio.timeout(30):
        while in_flight.used:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("count", "refused"), [(1000, False), (1001, True), (2_000_000, True)])
async def test_the_fields_of_a_request_are_bounded(kit: Kit, count: int, refused: bool) -> None:
    request = b"\x0a\x00" * count  # `service` again and again
    if refused:
        error = await kit.failure("One", request)
        assert (error.code, error.metadata["limit"]) == ("INVALID_ARGUMENT", "1000")
    else:
        await kit.call("One", iter([request]), timeout=30)


async def test_an_upload_that_trickles_ends_at_last(kit: Kit) -> None:
    """Each message renews the idle time, but not for ever."""
    error = await failure(kit.call("Taken", trickle(), timeout=60))
    assert (error.code, error.reason) == ("ABORTED", "CALL_IDLE")
