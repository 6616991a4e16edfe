"""Encoders that share rows on a real Valkey or Redis: losing one loses no rows, losing the server loses no call."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from bench.valkey_server import ValkeyServer
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, Service, decoder, digest_of, encoder, free_address, read, request
from tests.e2e.metrics import scrape
from tests.e2e.pictures import picture

Make = Callable[[str], Path]
PICTURES = [picture(seed=seed) for seed in range(6)]
SHARED = "fovea_encoder_shared_cache"


class Fleet:
    """A decoder, and the address of its only encoder."""

    def __init__(self, model: Path, server: ValkeyServer, front: Service, address: str) -> None:
        self.model = model
        self.server = server
        self.address = address
        self.front = front
        self.stub = decoder_pb2_grpc.DecoderServiceStub(front.channel)

    @asynccontextmanager
    async def encoder(self, folder: Path) -> AsyncIterator[Service]:
        """Lost with its store when the block ends. Its limits are generous: a busy machine must not make a
        server look slow.
        """
        service = encoder(
            self.model,
            folder,
            listen=self.address,
            shared_cache=self.server.url,
            shared_cache_timeout_ms=10_000,
            shared_cache_rest_s=0.1,
        )
        try:
            await service.until_ready()
            await self.front.until_ready()
            yield service
        finally:
            await service.stop()
            shutil.rmtree(folder)
            await self.until_down()

    async def until_down(self) -> None:
        """Until the decoder has noticed that its encoder is gone."""
        async with asyncio.timeout(60):
            while await self.front.health() != "NOT_SERVING":
                await asyncio.sleep(0.05)

    async def ask(self, *images: bytes | str) -> list[str]:
        """Sources of the rows."""
        from fovea.vision.v1 import rows_pb2

        sources = []
        for image in images:
            message = request("?", [image], max_new_tokens=1)
            answer = await read(self.stub.Generate(message, timeout=CALL_S))
            sources.append(rows_pb2.RowSource.Name(answer.finished.receipt.images[0].source))
        return sources


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(checkpoint: Make, valkey_server: ValkeyServer) -> AsyncIterator[Fleet]:
    address, model = free_address(), checkpoint("moe")
    front = decoder(model, [address])
    try:
        await front.until_loaded()
        yield Fleet(model, valkey_server, front, address)
    finally:
        await front.stop()


async def encodes(service: Service) -> int:
    stub = encoder_pb2_grpc.EncoderServiceStub(service.channel)
    info = await stub.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    return int(info.load.encodes)


async def shared_events(service: Service, name: str) -> float:
    return sum(
        value for key, value in (await scrape(service.metrics)).items() if key[0] == f"{SHARED}_{name}"
    )


async def until_written(service: Service) -> None:
    async with asyncio.timeout(60):
        while await shared_events(service, "queue_bytes"):
            await asyncio.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize("how", ["inline", "by id"])
async def test_a_new_encoder_serves_all_that_a_lost_one_has_encoded(
    fleet: Fleet, tmp_path: Path, how: str
) -> None:
    images = PICTURES if how == "inline" else [digest_of(data) for data in PICTURES]
    async with fleet.encoder(tmp_path / "lost"):
        assert set(await fleet.ask(*PICTURES)) == {"ROW_SOURCE_ENCODED"}
    async with fleet.encoder(tmp_path / "new") as second:
        assert set(await fleet.ask(*images)) == {"ROW_SOURCE_ROWS"}
        assert await encodes(second) == 0
        assert await shared_events(second, "hits_total") >= len(PICTURES)


@pytest.mark.long
async def test_without_the_server_every_call_is_answered(fleet: Fleet, tmp_path: Path) -> None:
    async with fleet.encoder(tmp_path / "first") as first:
        await fleet.ask(*PICTURES[:2])
        await until_written(first)
        fleet.server.kill()
        assert await fleet.ask(*PICTURES[:2]) == ["ROW_SOURCE_ROWS"] * 2
        assert await fleet.ask(*PICTURES[2:4]) == ["ROW_SOURCE_ENCODED"] * 2
        assert await shared_events(first, "servers_up") == 0
    async with fleet.encoder(tmp_path / "second"):
        assert await fleet.ask(PICTURES[0]) == ["ROW_SOURCE_ENCODED"]


@pytest.mark.long
async def test_a_deleted_image_does_not_come_back_from_the_server(fleet: Fleet, tmp_path: Path) -> None:
    """A new encoder, which never had the image, deletes it for all."""
    digest = digest_of(PICTURES[0])
    async with fleet.encoder(tmp_path / "first"):
        await fleet.ask(*PICTURES[:2])
    async with fleet.encoder(tmp_path / "second"):
        deleted = await fleet.stub.DeleteImage(decoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
        assert [each.confirmed for each in deleted.encoders] == [True]
        refused = fleet.stub.Generate(request("?", [digest], max_new_tokens=1), timeout=CALL_S)
        assert (await failure(refused)).reason == "IMAGE_NOT_STORED"
        assert await fleet.ask(*PICTURES[:2]) == ["ROW_SOURCE_ENCODED", "ROW_SOURCE_ROWS"]
        fleet.server.kill()
        deleted = await fleet.stub.DeleteImage(decoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
        assert [(each.confirmed, each.reason) for each in deleted.encoders] == [(False, "STORE_FAILED")]
