"""A decoder whose encoder stops, or restarts with other settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fovea.decoder.v1 import decoder_pb2_grpc
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, LONG_WINDED, House, Service, decoder, encoder, free_address, read, request
from tests.e2e.metrics import scrape
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(300)
Make = Callable[[str], Path]


class Pair:
    """A decoder, and an address at which encoders start and stop on the same store."""

    def __init__(self, folder: Path, address: str, front: Service) -> None:
        self.folder = folder
        self.address = address
        self.front = front
        self.stub = decoder_pb2_grpc.DecoderServiceStub(front.channel)

    @asynccontextmanager
    async def encoder(self, model: Path, **changes: Any) -> AsyncIterator[None]:
        service = encoder(model, self.folder / "store", listen=self.address, metrics_listen="", **changes)
        try:
            await service.until_ready()
            yield
        finally:
            await service.stop()
            await self.until("NOT_SERVING")

    async def ask(self, *seeds: int) -> list[str]:
        """Dtypes of the rows of concurrent questions, each about a picture."""
        answers = await asyncio.gather(
            *(
                read(self.stub.Generate(request("?", [picture(seed=seed)], max_new_tokens=2), timeout=CALL_S))
                for seed in seeds
            )
        )
        from fovea.vision.v1 import rows_pb2

        return [rows_pb2.RowDtype.Name(answer.finished.receipt.images[0].dtype) for answer in answers]

    async def refusal(self, seed: int) -> str:
        message = request("?", [picture(seed=seed)], max_new_tokens=2)
        return (await failure(self.stub.Generate(message, timeout=CALL_S))).reason

    async def until(self, health: str) -> None:
        async with asyncio.timeout(60):
            while await self.front.health() != health:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def pair(model: Path, folder: Path, **changes: Any) -> AsyncIterator[Pair]:
    address = free_address()
    front = decoder(model, [address], encoder_check_s=0.1, **changes)
    try:
        await front.until_loaded()
        yield Pair(folder, address, front)
    finally:
        await front.stop()


@pytest.mark.long
async def test_other_row_dtypes_cost_an_attempt_and_no_call(checkpoint: Make, tmp_path: Path) -> None:
    model = checkpoint("moe")
    async with pair(model, tmp_path) as both:
        async with both.encoder(model):
            await both.until("SERVING")
            assert await both.ask(1) == ["ROW_DTYPE_FP32"]
        async with both.encoder(model, row_dtype="bf16"):
            await both.until("SERVING")
            assert await both.ask(1, 2, 3, 4) == ["ROW_DTYPE_BF16"] * 4
        async with both.encoder(model, arena_bytes=1 << 22):
            await both.until("SERVING")
            assert await both.ask(1, 5) == ["ROW_DTYPE_FP32"] * 2
        async with both.encoder(model, row_dtype="bf16", arena_bytes=1 << 22):
            await both.until("SERVING")
            assert await both.ask(1, 5, 6) == ["ROW_DTYPE_BF16"] * 3


async def test_a_decoder_is_ready_while_an_encoder_fits_and_says_once_why_not(
    checkpoint: Make, tmp_path: Path
) -> None:
    model = checkpoint("moe")
    async with pair(model, tmp_path) as both:
        assert await both.front.health() == "NOT_SERVING", "there is no encoder yet"
        assert await both.front.health("liveness") == "SERVING"
        with capture_logs() as logs:
            async with both.encoder(checkpoint("other")):
                await asyncio.sleep(0.5)
                assert await both.front.health() == "NOT_SERVING"
                assert await both.refusal(1) == "ENCODER_MISMATCH"
            async with both.encoder(model):
                await both.until("SERVING")
                assert await both.ask(1, 2) == ["ROW_DTYPE_FP32"] * 2
            await both.until("NOT_SERVING")
        told = [entry for entry in logs if entry["event"] == "encoder serves rows of another model"]
        (why,) = told
        assert why["encoder"] == both.address
        assert why["expected"] != why["actual"]


async def test_a_decoder_may_be_ready_without_encoders(checkpoint: Make, tmp_path: Path) -> None:
    async with pair(checkpoint("moe"), tmp_path, ready_without_encoders=True) as both:
        await both.until("SERVING")


async def test_a_decoder_is_not_ready_beside_a_wrong_encoder_from_the_start(
    checkpoint: Make, tmp_path: Path
) -> None:
    wrong = encoder(checkpoint("other"), tmp_path / "store", metrics_listen="")
    front: Service | None = None
    try:
        await wrong.until_ready()
        with capture_logs() as logs:
            front = decoder(checkpoint("moe"), [wrong.address], metrics_listen="")
            async with asyncio.timeout(60):
                while not any(entry["event"] == "ready" for entry in logs):
                    await asyncio.sleep(0.02)
        assert await front.health() == "NOT_SERVING"
        assert await front.health("liveness") == "SERVING"
    finally:
        if front is not None:
            await front.stop()
        await wrong.stop()


async def test_images_with_cached_rows_need_no_encoder(checkpoint: Make, tmp_path: Path) -> None:
    model = checkpoint("moe")
    async with pair(model, tmp_path, row_cache_bytes=1 << 20) as both:
        async with both.encoder(model):
            await both.until("SERVING")
            await both.ask(1)
        assert await both.ask(1, 1) == ["ROW_DTYPE_FP32"] * 2
        call = both.stub.Generate(request("?", [picture(seed=2)], max_new_tokens=2), timeout=CALL_S)
        assert (await failure(call)).reason == "ENCODER_UNAVAILABLE"
        assert not dict(await call.initial_metadata()), "refused after it had begun"


async def test_images_in_the_kv_cache_need_no_encoder(checkpoint: Make, tmp_path: Path) -> None:
    model = checkpoint("moe")
    async with pair(model, tmp_path, prefix_cache=True) as both:
        async with both.encoder(model):
            await both.until("SERVING")
            await both.ask(1)
        await both.ask(1)
        other_size = request("?", [picture(seed=1)], max_new_tokens=2, max_pixels=4096)
        call = both.stub.Generate(other_size, timeout=CALL_S)
        assert (await failure(call)).reason == "ENCODER_UNAVAILABLE"
        assert not dict(await call.initial_metadata()), "refused after it had begun"


async def test_tokens_of_a_cancelled_call_are_counted(house: House) -> None:
    async def output() -> float:
        from prometheus_client.parser import text_string_to_metric_families as families

        page = await asyncio.to_thread(_page, house.decoder_side.metrics)
        return sum(
            sample.value
            for family in families(page)
            for sample in family.samples
            if sample.name == "fovea_decoder_generation_tokens_total"
        )

    await scrape(house.decoder_side.metrics)
    before, received = await output(), 0
    call = house.decoder.Generate(request(LONG_WINDED, max_new_tokens=400), timeout=CALL_S)
    while received < 20:
        received += len((await call.read()).delta.token_ids)
    call.cancel()
    async with asyncio.timeout(30):
        while await output() < before + received:
            await asyncio.sleep(0.02)


def _page(address: str) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as page:
        return str(page.read().decode())
