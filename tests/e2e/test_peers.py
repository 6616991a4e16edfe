"""Encoders that are down, late, silent or of another model; images that have gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, Service, decoder, encoder, free_address, read, request, running
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(300)
Make = Callable[[str], Path]


@asynccontextmanager
async def lone_decoder(model: Path, address: str) -> AsyncIterator[decoder_pb2_grpc.DecoderServiceStub]:
    """A decoder configured with an encoder at `address`, which may be absent or incompatible."""
    service = decoder(model, [address])
    try:
        await service.until_loaded()
        yield decoder_pb2_grpc.DecoderServiceStub(service.channel)
    finally:
        await service.stop()


async def test_an_encoder_that_is_down_is_a_typed_error_and_text_goes_on(checkpoint: Make) -> None:
    async with lone_decoder(checkpoint("moe"), free_address()) as stub:
        for _ in range(3):
            error = await failure(stub.Generate(request("?", [picture()]), timeout=CALL_S))
            assert (error.code, error.reason) == ("UNAVAILABLE", "ENCODER_UNAVAILABLE")
            assert error.retry_s
        error = await failure(stub.PutImage(iter([decoder_pb2.PutImageRequest(data=picture())])))
        assert error.reason == "ENCODER_UNAVAILABLE"
        answered = await read(stub.Generate(request("Only text.", max_new_tokens=4), timeout=CALL_S))
        assert answered.token_ids
        info = await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
        assert [peer.reachable for peer in info.encoders] == [False]


async def test_an_encoder_that_never_answers_costs_no_more_than_the_deadline(checkpoint: Make) -> None:
    """It accepts connections and sends nothing, like a stopped process."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with lone_decoder(checkpoint("moe"), address) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await read(stub.Generate(request("?", [picture()]), timeout=3.0))
            late = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
            assert raised.value.code() in late
            info = await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
            assert (info.load.running, info.load.waiting, info.load.kv_blocks_used) == (0, 0, 0)


async def test_a_decoder_that_starts_first_recovers(checkpoint: Make, tmp_path: Path) -> None:
    """The decoder retries the absent encoder and serves soon after an encoder listens there."""
    address = free_address()
    late: Service | None = None
    async with lone_decoder(checkpoint("moe"), address) as stub:
        for _ in range(4):
            error = await failure(stub.Generate(request("?", [picture()]), timeout=CALL_S))
            assert error.reason == "ENCODER_UNAVAILABLE"
            await asyncio.sleep(error.retry_s or 0)
        late = encoder(checkpoint("moe"), tmp_path, listen=address)
        try:
            await late.until_ready()
            assert await _soon(stub)
        finally:
            await late.stop()


async def _soon(stub: decoder_pb2_grpc.DecoderServiceStub) -> list[int]:
    """Retries like a client that honours RetryInfo. Ten attempts outlast its channel's backoff."""
    for _ in range(10):
        call = stub.Generate(request("?", [picture()], max_new_tokens=4), timeout=CALL_S)
        try:
            return (await read(call)).token_ids
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
            await asyncio.sleep(1.0)
    raise AssertionError("the decoder did not find the encoder again")


async def test_an_encoder_of_another_model_is_refused(checkpoint: Make, tmp_path: Path) -> None:
    other = encoder(checkpoint("other"), tmp_path)
    try:
        await other.until_ready()
        async with lone_decoder(checkpoint("moe"), other.address) as stub:
            error = await failure(stub.Generate(request("?", [picture()]), timeout=CALL_S))
            assert (error.code, error.reason) == ("FAILED_PRECONDITION", "ENCODER_MISMATCH")
            assert error.metadata["expected"] != error.metadata["actual"]
            info = await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
            assert [(peer.reachable, peer.compatible) for peer in info.encoders] == [(True, False)]
            text = await read(stub.Generate(request("Only text.", max_new_tokens=4), timeout=CALL_S))
            assert text.token_ids
    finally:
        await other.stop()


async def test_a_fingerprint_that_is_not_the_encoders_is_refused_by_it(house: House) -> None:
    stored = await house.put(picture())
    message = encoder_pb2.EncodeRequest(digest=stored.facts.digest, fingerprint="sha256:" + "0" * 64)
    error = await failure(house.encoder.Encode(message, timeout=CALL_S))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "ENCODER_MISMATCH")


async def test_an_image_that_was_deleted_is_not_stored(house: House) -> None:
    stored = await house.put(picture(seed=601))
    digest = stored.facts.digest
    await house.ask(request("?", [digest], max_new_tokens=2))
    gone = await house.encoder.DeleteImage(encoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
    assert (gone.uploads, gone.records) == (1, 1)
    error = await failure(house.decoder.Generate(request("?", [digest]), timeout=CALL_S))
    assert (error.code, error.reason) == ("NOT_FOUND", "IMAGE_NOT_STORED")
    assert error.metadata["digest"] == digest
    again = await house.ask(request("?", [picture(seed=601)], max_new_tokens=2))
    assert again.sources == ["ROW_SOURCE_ENCODED"]


async def test_an_image_whose_time_is_over_is_not_stored(checkpoint: Make, tmp_path: Path) -> None:
    async with running(checkpoint("moe"), tmp_path, encoder_changes={"upload_ttl_s": 1}) as house:
        stored = await house.put(picture())
        assert stored.expire_time.ToNanoseconds() > 0
        await asyncio.sleep(1.2)
        error = await failure(house.decoder.Generate(request("?", [stored.facts.digest]), timeout=CALL_S))
        assert error.reason == "IMAGE_NOT_STORED"
        assert (await house.ask(request("?", [picture()], max_new_tokens=2))).token_ids


async def test_a_checkpoint_with_a_limit_below_the_default_serves_large_images(tmp_path: Path) -> None:
    """The default of max_pixels, 1,310,720, is above what this checkpoint's processor keeps."""
    from tests import tiny

    model = tiny.checkpoint(tmp_path / "small", "moe", max_pixels=65_536)
    async with running(model, tmp_path / "store") as house:
        answered = await house.ask(request("?", [picture(600, 600)], max_new_tokens=2))
        assert answered.started.visual_tokens == 64
