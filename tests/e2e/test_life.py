"""Processes that end, are killed and come back, with the calls that were under way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fovea.contract.remote import error_of
from fovea.decoder.v1 import decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, LONG_WINDED, Answered, decoder, free_address, read, request, rest_of
from tests.e2e.pictures import picture
from tests.e2e.processes import Process, decoder_process, encoder_process

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
TOKENS = 8
ASKS = 20


class Pair:
    """An encoder in its own process, and its decoder."""

    def __init__(self, encoder: Process, stub: decoder_pb2_grpc.DecoderServiceStub) -> None:
        self.encoder = encoder
        self.stub = stub

    async def ask(self, image: bytes) -> Answered:
        return await read(self.stub.Generate(request("?", [image], max_new_tokens=TOKENS), timeout=CALL_S))

    async def ask_again(self, image: bytes) -> Answered:
        """Retries like a client that honours RetryInfo: the channel may not have noticed the restarted encoder."""
        for _ in range(ASKS):
            try:
                return await self.ask(image)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
                await asyncio.sleep(0.5)
        raise AssertionError("the encoder did not come back for the decoder")

    async def encodes(self) -> int:
        async with grpc.aio.insecure_channel(self.encoder.address) as channel:
            stub = encoder_pb2_grpc.EncoderServiceStub(channel)
            info = await stub.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
            return int(info.load.encodes)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(checkpoint: Callable[[str], Path], tmp_path: Path) -> AsyncIterator[Pair]:
    model = checkpoint("moe")
    encoder = encoder_process(model, tmp_path, free_address())
    encoder.start()
    front = decoder(model, [encoder.address])
    try:
        await front.until_ready()
        await encoder.until_ready()
        yield Pair(encoder, decoder_pb2_grpc.DecoderServiceStub(front.channel))
    finally:
        await front.stop()
        encoder.end()


async def test_the_cache_outlives_a_restart_and_a_kill_of_the_encoder(pair: Pair) -> None:
    """Images and rows that were answered before are neither sent nor encoded again; others are served too."""
    images = [picture(100 + 40 * at, 90, seed=at) for at in range(3)]
    before = [await pair.ask(image) for image in images]
    assert await pair.encodes() == 3
    for number in (signal.SIGTERM, signal.SIGKILL):
        pair.encoder.signal(number)
        status = await pair.encoder.ended()
        assert status == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        error = await failure(pair.stub.Generate(request("?", [images[0]]), timeout=CALL_S))
        assert (error.code, error.reason) == ("UNAVAILABLE", "ENCODER_UNAVAILABLE")
        assert error.retry_s
        pair.encoder.start()
        await pair.encoder.until_ready()
        after = [await pair.ask_again(image) for image in images]
        assert [a.token_ids for a in after] == [b.token_ids for b in before]
        assert [a.sources for a in after] == [["ROW_SOURCE_ROWS"]] * 3
        assert await pair.encodes() == 0
    fresh = await pair.ask(picture(seed=99))
    assert fresh.sources == ["ROW_SOURCE_ENCODED"]


async def test_pages_lost_while_running_cost_the_store_and_not_the_process(
    pair: Pair, tmp_path: Path
) -> None:
    image = picture(120, 90, seed=9)
    await pair.ask(image)
    os.truncate(tmp_path / "store" / "env" / "data.mdb", 8192)
    await pair.ask(picture(130, 90, seed=10))
    assert (tmp_path / "store" / "env.set-aside").exists()
    await pair.ask_again(image)
    assert pair.encoder.child.poll() is None


async def test_a_kill_during_calls_gives_typed_errors_and_loses_nothing(pair: Pair) -> None:
    """Killed while images are being uploaded, encoded, written and sent; each call ends, well or typed."""
    kept = await pair.ask(picture(seed=1))
    images = [picture(256, 256, seed=200 + at) for at in range(12)]
    calls = [
        pair.stub.Generate(request("?", [image], max_new_tokens=TOKENS), timeout=CALL_S) for image in images
    ]
    await calls[0].read()
    pair.encoder.signal(signal.SIGKILL)
    await pair.encoder.ended()
    ends = await asyncio.gather(*(_end_of(call) for call in calls))
    assert set(ends) <= {"answered", "ENCODER_UNAVAILABLE", "ROWS_MISMATCH"}
    assert "ENCODER_UNAVAILABLE" in ends, "the kill came too late to hit a call"
    pair.encoder.start()
    await pair.encoder.until_ready()
    again = [await pair.ask_again(image) for image in images]
    assert all(answered.token_ids for answered in again)
    hit = await pair.ask(picture(seed=1))
    assert hit.token_ids == kept.token_ids
    assert hit.sources == ["ROW_SOURCE_ROWS"]


async def _end_of(call: grpc.aio.UnaryStreamCall) -> str:
    try:
        await rest_of(call)
    except grpc.aio.AioRpcError as error:
        return error_of(error).reason
    return "answered"


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[grpc.aio.Channel]:
    process.start()
    try:
        await process.until_ready()
        async with grpc.aio.insecure_channel(process.address) as channel:
            yield channel
    finally:
        process.end()


async def test_sigterm_drops_health_and_lets_running_calls_end(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    process = decoder_process(checkpoint("moe"), tmp_path, free_address(), free_address())
    async with started(process) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stub = decoder_pb2_grpc.DecoderServiceStub(channel)
        call = stub.Generate(request(LONG_WINDED, max_new_tokens=512), timeout=CALL_S)
        events = [await call.read(), await call.read()]
        process.signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not call.done()
        late = stub.Generate(request("?", max_new_tokens=1), timeout=CALL_S)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await read(late)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        events += await rest_of(call)
        assert events[-1].WhichOneof("event") == "finished"
        assert sum(len(event.delta.token_ids) for event in events) > 100
        assert await process.ended() == 0
