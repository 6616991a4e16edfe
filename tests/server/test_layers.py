"""The layers around every call: their order, and what each sees of a failed call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from fovea.contract.errors import FoveaError, InvalidArgument, Violation
from fovea.server import call as calls
from fovea.server.call import CallInterceptor, clean_id, counted, errors, has_expired, logged
from fovea.server.metrics import CallMetrics
from fovea.server.status import INTERNAL_TEXT
from tests.e2e.failures import failure

SECRET = "password=hunter2 at 0x7f0000001234 in /root/keys.py"


class Busy(FoveaError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_BUSY"


async def act(what: bytes) -> bytes:
    """The handler under test; the request selects its behaviour."""
    if what == b"refuse":
        raise InvalidArgument("a is wrong", violations=[Violation("a", "wrong")], limit=3)
    if what == b"busy":
        raise Busy("come back", retry_after_s=2.0)
    if what == b"break":
        raise ZeroDivisionError(SECRET)
    if what == b"sleep":
        await asyncio.sleep(60)
    return calls.current_request_id().encode()


async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return await act(request)


async def many(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield b"first"
    yield await act(request)


async def taken(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
    return [await act(request) async for request in requests][-1]


async def both(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield await act(request)


HANDLERS = {
    "One": grpc.unary_unary_rpc_method_handler(unary),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Taken": grpc.stream_unary_rpc_method_handler(taken),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}


class Kit:
    """A server with four methods inside the layers, and its metrics."""

    def __init__(self, address: str, channel: grpc.aio.Channel, registry: CollectorRegistry) -> None:
        self.address = address
        self.channel = channel
        self.registry = registry

    def call(self, method: str, what: bytes, **options: Any) -> Any:
        path = f"/test.Kit/{method}"
        if method == "One":
            return self.channel.unary_unary(path)(what, **options)
        if method == "Many":
            return self.channel.unary_stream(path)(what, **options)
        if method == "Taken":
            return self.channel.stream_unary(path)(iter([what]), **options)
        return self.channel.stream_stream(path)(iter([what]), **options)

    def started(self, method: str) -> float:
        labels = {"grpc_service": "test.Kit", "grpc_method": method}
        return self.registry.get_sample_value("grpc_server_started_total", labels) or 0.0

    def handled(self, method: str, code: str) -> float:
        labels = {"grpc_service": "test.Kit", "grpc_method": method, "grpc_code": code}
        return self.registry.get_sample_value("grpc_server_handled_total", labels) or 0.0


@pytest_asyncio.fixture(loop_scope="session")
async def kit() -> AsyncIterator[Kit]:
    registry = CollectorRegistry()
    server = grpc.aio.server(interceptors=(CallInterceptor(CallMetrics(registry)),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Kit", HANDLERS),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    address = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(address) as channel:
        yield Kit(address, channel, registry)
    await server.stop(0)


def test_metrics_are_outside_of_the_log_and_the_log_outside_of_errors() -> None:
    """In any other order refused calls would be counted as OK, or not at all."""
    assert (counted, logged, errors) == calls.LAYERS


@pytest.mark.parametrize("method", HANDLERS)
async def test_a_refused_call_is_counted_under_its_code(kit: Kit, method: str) -> None:
    error = await failure(kit.call(method, b"refuse"))
    assert (error.code, error.reason, error.message) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "a is wrong")
    assert error.violations == {"a": "wrong"}
    assert error.metadata == {"limit": "3"}
    await _until(lambda: kit.handled(method, "INVALID_ARGUMENT") == 1)
    assert kit.handled(method, "OK") == 0


async def test_the_status_of_a_refused_upload_arrives_while_the_client_writes(kit: Kit) -> None:
    """Without a lingering close gRPC's asyncio client loses it now and then, and reports INTERNAL."""
    chunks = [b"refuse", *[bytes(1 << 20)] * 30]
    for _ in range(20):
        error = await failure(kit.channel.stream_unary("/test.Kit/Taken")(iter(chunks)))
        assert error.reason == "INVALID_ARGUMENT"


async def test_an_upload_that_never_ends_is_refused_all_the_same(kit: Kit) -> None:
    """gRPC's asyncio client loses a status that arrives while it writes a message; its blocking client does not."""

    def endless() -> Iterator[bytes]:
        yield b"refuse"
        while True:
            yield bytes(1000)
            time.sleep(0.01)

    def upload() -> grpc.RpcError:
        with grpc.insecure_channel(kit.address) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary("/test.Kit/Taken")(endless(), timeout=30)
        return caught.value

    error = await asyncio.to_thread(upload)
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "a is wrong")


@pytest.mark.parametrize("method", HANDLERS)
async def test_an_unexpected_exception_tells_the_client_nothing_but_the_request_id(
    kit: Kit, method: str
) -> None:
    error = await failure(kit.call(method, b"break", metadata=(("x-request-id", "find-me"),)))
    assert (error.code, error.reason, error.message) == ("INTERNAL", "INTERNAL", INTERNAL_TEXT)
    assert error.request_id == "find-me"
    assert not error.metadata
    await _until(lambda: kit.handled(method, "INTERNAL") == 1)


@pytest.mark.parametrize("method", ["One", "Taken"])
async def test_a_failure_has_no_headers_so_that_clients_may_retry(kit: Kit, method: str) -> None:
    """gRPC does not retry a call after headers; a response's headers carry the request id."""
    answered, refused = kit.call(method, b"id"), kit.call(method, b"busy")
    await answered
    await failure(refused)
    assert "x-request-id" in dict(await answered.initial_metadata())
    assert not dict(await refused.initial_metadata())


async def test_overload_carries_retry_info_and_pushback(kit: Kit) -> None:
    call = kit.call("One", b"busy")
    error = await failure(call)
    assert error.retry_s == 2.0
    trailing = dict(await call.trailing_metadata())
    assert 2000 <= int(trailing["grpc-retry-pushback-ms"]) <= 2500


@pytest.mark.parametrize("method", HANDLERS)
async def test_each_handler_knows_the_id_of_its_own_call(kit: Kit, method: str) -> None:
    async def ask(name: str) -> str:
        call = kit.call(method, b"id", metadata=(("x-request-id", name),))
        error = b"".join([part async for part in call]) if hasattr(call, "__aiter__") else await call
        return str(error.decode().removeprefix("first"))

    names = [f"call-{at}" for at in range(8)]
    assert await asyncio.gather(*map(ask, names)) == names


@pytest.mark.parametrize("method", HANDLERS)
async def test_a_call_that_is_cancelled_is_counted_as_cancelled(kit: Kit, method: str) -> None:
    call = kit.call(method, b"sleep")
    await _until(lambda: kit.started(method) == 1)
    call.cancel()
    await _until(lambda: kit.handled(method, "CANCELLED") == 1)
    assert kit.handled(method, "OK") == 0


async def test_a_call_that_is_cancelled_before_its_request_arrives_is_counted(kit: Kit) -> None:
    call = kit.channel.stream_unary("/test.Kit/One")()
    await call.wait_for_connection()
    call.cancel()
    await _until(lambda: kit.handled("One", "CANCELLED") == 1)
    assert kit.started("One") == 1


@pytest.mark.parametrize("method", HANDLERS)
async def test_a_passed_deadline_is_counted_as_such(kit: Kit, method: str) -> None:
    call = kit.call(method, b"sleep", timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [part async for part in call] if hasattr(call, "__aiter__") else await call
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await _until(lambda: kit.handled(method, "DEADLINE_EXCEEDED") + kit.handled(method, "CANCELLED") == 1)


async def test_a_stream_that_is_left_between_two_messages_is_counted_as_cancelled(kit: Kit) -> None:
    call = kit.call("Many", b"sleep")
    assert await call.read() == b"first"
    call.cancel()
    await _until(lambda: kit.handled("Many", "CANCELLED") == 1)
    assert kit.handled("Many", "OK") == 0


async def _until(condition: Any) -> None:
    """The bound only guards against hanging."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fit", ["a", "order 66/a", "x" * 128, "{}:;"])
def test_a_valid_request_id_is_kept(fit: str) -> None:
    assert clean_id(fit) == fit


@pytest.mark.parametrize("unfit", ["", "x" * 129, "a\nb", "ä", "\x7f", "\u2028", "a\x00"])
def test_an_invalid_request_id_is_replaced(unfit: str) -> None:
    made = clean_id(unfit)
    assert made != unfit
    assert len(made) == 32


@pytest.mark.parametrize(
    ("remaining_s", "elapsed_s", "expired"),
    [
        (None, 9.0, False),
        (-0.1, 0.3, True),
        (0.005, 0.295, True),  # as seen: the caller's deadline of 0.3 s passed 5 ms before ours
        (0.009, 1.001, True),  # gRPC sends 1.001 s as 1.01 s
        (0.9, 100.1, True),  # and 100.1 s as 101 s
        (0.1, 0.2, False),
        (2.0, 98.0, False),
    ],
)
def test_a_call_that_its_caller_ends_at_the_deadline_has_met_it(
    remaining_s: float | None, elapsed_s: float, expired: bool
) -> None:
    assert has_expired(remaining_s, elapsed_s) is expired
