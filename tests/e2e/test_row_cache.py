"""A decoder with a row cache gives the same answer and receipt digest without a transfer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, Answered, House, decoder, read, request
from tests.e2e.metrics import scrape
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)
BYTES = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keeping(house: House) -> AsyncIterator[tuple[decoder_pb2_grpc.DecoderServiceStub, str]]:
    """A decoder with a row cache, on the same encoder as the first decoder, and the address of its metrics."""
    changes = {"row_cache_bytes": BYTES, "row_cache_s": 60}
    service = decoder(house.model, [house.encoder_side.address], **changes)
    try:
        await service.until_ready()
        yield decoder_pb2_grpc.DecoderServiceStub(service.channel), service.metrics
    finally:
        await service.stop()


async def test_a_repeat_transfers_nothing_and_a_deleted_image_is_not_stored(
    house: House, keeping: tuple[decoder_pb2_grpc.DecoderServiceStub, str]
) -> None:
    stub, address = keeping
    digest = (await house.put(picture(96, 64, seed=811))).facts.digest

    async def ask() -> Answered:
        return await read(stub.Generate(request("?", [digest], max_new_tokens=4), timeout=CALL_S))

    first, second = await ask(), await ask()
    fresh, kept = (answered.finished.receipt.images[0] for answered in (first, second))
    assert first.token_ids == second.token_ids
    assert fresh.rows_digest == kept.rows_digest
    assert second.sources == ["ROW_SOURCE_ROWS"]
    assert (fresh.wire_bytes, kept.wire_bytes, kept.encoder) == (fresh.row_bytes, 0, "")
    assert second.finished.receipt.totals.wire_bytes == 0
    await check_figures(stub, address, fresh.row_bytes)
    await house.encoder.DeleteImage(encoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
    error = await failure(stub.Generate(request("?", [digest]), timeout=CALL_S))
    assert error.reason == "IMAGE_NOT_STORED"


async def check_figures(stub: decoder_pb2_grpc.DecoderServiceStub, address: str, used: int) -> None:
    """The limits in GetServerInfo and as gauges, and the counted hits."""
    info = await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert (info.limits.row_cache_bytes, info.limits.row_cache_s) == (BYTES, 60)
    metrics = await scrape(address)
    names = (
        "limit_row_cache_bytes",
        "row_cache_used_bytes",
        "row_cache_hits_total",
        "row_cache_misses_total",
    )
    assert [metrics[(f"fovea_decoder_{name}", "", "")] for name in names] == [BYTES, used, 1, 1]
