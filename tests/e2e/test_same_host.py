"""A decoder that reads rows from the encoder's arena gives the same answer and digest without a transfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fovea.arena import OpenArena
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, digest_of, put_on_encoder, request, rows_of, running
from tests.e2e.metrics import scrape
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)
BYTES = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sharing(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    changes = {"arena_bytes": BYTES, "arena_lease_s": 60}
    async with running(house.model, tmp_path_factory.mktemp("sharing"), encoder_changes=changes) as both:
        yield both


async def lease(
    house: House, digest: str, max_pixels: int | None = None, rows: encoder_pb2.RowChoice | None = None
) -> encoder_pb2.LeaseRowsResponse:
    plan = encoder_pb2.EncodePlan(max_pixels=max_pixels, rows=rows)
    message = encoder_pb2.LeaseRowsRequest(encode=encoder_pb2.EncodeRequest(digest=digest, plan=plan))
    return await house.encoder.LeaseRows(message, timeout=CALL_S)


async def test_shared_memory_gives_the_answer_of_grpc_without_transfer(house: House, sharing: House) -> None:
    data = picture(96, 64, seed=821)
    wired, first, second = [
        await services.ask(request("?", [data])) for services in (house, sharing, sharing)
    ]
    assert wired.token_ids == first.token_ids == second.token_ids
    images = [answered.finished.receipt.images[0] for answered in (wired, first, second)]
    assert len({image.rows_digest for image in images}) == 1
    assert [image.wire_bytes for image in images] == [images[0].row_bytes, 0, 0]
    assert first.sources + second.sources == ["ROW_SOURCE_ENCODED", "ROW_SOURCE_ROWS"]
    assert await sharing.encodes() == 1
    metrics = await scrape(sharing.decoder_side.metrics)
    names = ("same_host_reads_total", "same_host_fallbacks_total")
    assert [metrics[(f"fovea_decoder_{name}", "", "")] for name in names] == [2, 0]


async def test_a_lease_shows_the_rows_of_its_key_and_no_other(sharing: House) -> None:
    """Concurrent leases of a new image share an encode. Another plan has its own rows."""
    digest = await put_on_encoder(sharing, picture(320, 256, seed=822))
    before = await sharing.encodes()
    first, other = await asyncio.gather(lease(sharing, digest), lease(sharing, digest))
    assert await sharing.encodes() == before + 1
    assert sorted((first.header.joined, other.header.joined)) == [False, True]
    small = await lease(sharing, digest, 65_536)
    assert first.offset_bytes == other.offset_bytes != small.offset_bytes
    assert small.header.rows < first.header.rows
    for leased, plan in ((first, None), (small, 65_536)):
        wired, _, summary = await rows_of(sharing, digest, plan)
        rows = OpenArena(leased.arena).copy(leased.offset_bytes, leased.summary.row_bytes)
        assert rows == wired
        assert digest_of(rows) == leased.summary.rows_digest == summary.rows_digest
    ids = [first.lease_id, other.lease_id, small.lease_id]
    release = encoder_pb2.ReleaseRowsRequest(lease_ids=[*ids, "none"])
    assert (await sharing.encoder.ReleaseRows(release, timeout=CALL_S)).released == 3


async def test_each_selection_has_its_own_slot_in_the_arena(sharing: House) -> None:
    digest = await put_on_encoder(sharing, picture(320, 256, seed=825))
    encodes = await sharing.encodes()
    choices = (encoder_pb2.RowChoice(keep=0.5), encoder_pb2.RowChoice(auto=True), None)
    leased = [await lease(sharing, digest, rows=rows) for rows in choices]
    copies = [OpenArena(reply.arena).copy(reply.offset_bytes, reply.summary.row_bytes) for reply in leased]
    half, auto, whole = copies
    width = leased[0].header.layout.row_bytes
    rows = [whole[at : at + width] for at in range(0, len(whole), width)]
    assert half == b"".join(rows[place] for place in leased[0].header.kept)
    assert auto == b"".join(rows[place] for place in leased[1].header.kept or range(len(rows)))
    assert [reply.summary.rows_digest for reply in leased] == [digest_of(copy) for copy in copies]
    assert len({reply.offset_bytes for reply in leased}) == 3
    assert await sharing.encodes() == encodes + 1
    ids = [reply.lease_id for reply in leased]
    await sharing.encoder.ReleaseRows(encoder_pb2.ReleaseRowsRequest(lease_ids=ids), timeout=CALL_S)


async def test_a_full_arena_refuses_before_encoding(sharing: House) -> None:
    digests = [await put_on_encoder(sharing, picture(640, 480, seed=830 + at)) for at in range(4)]
    before = await sharing.encodes()
    replies = await asyncio.gather(*(lease(sharing, digest) for digest in digests), return_exceptions=True)
    held = [reply.lease_id for reply in replies if isinstance(reply, encoder_pb2.LeaseRowsResponse)]
    # Calls at one moment come in any order, so any of the images may be the one without room.
    refused = next(
        digest for digest, reply in zip(digests, replies, strict=True) if isinstance(reply, Exception)
    )
    assert 0 < len(held) < len(digests)
    assert await sharing.encodes() - before == len(held)
    assert (await failure(lease(sharing, refused))).reason == "ARENA_FULL"
    answered = await sharing.ask(request("?", [refused], max_new_tokens=2))
    assert answered.finished.receipt.images[0].wire_bytes > 0
    info = await sharing.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert (info.limits.arena_bytes, info.limits.arena_lease_s) == (BYTES, 60)
    gauges = await scrape(sharing.encoder_side.metrics)
    names = ("limit_arena_bytes", "limit_arena_lease_s", "arena_leases")
    assert [gauges[(f"fovea_encoder_{name}", "", "")] for name in names] == [BYTES, 60, len(held)]
    await sharing.encoder.ReleaseRows(encoder_pb2.ReleaseRowsRequest(lease_ids=held), timeout=CALL_S)


async def test_a_deleted_image_cannot_be_leased(sharing: House) -> None:
    digest = await put_on_encoder(sharing, picture(96, 64, seed=823))
    leased = await lease(sharing, digest)
    await sharing.encoder.DeleteImage(encoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
    assert (await failure(lease(sharing, digest))).reason == "IMAGE_NOT_STORED"
    await put_on_encoder(sharing, picture(96, 64, seed=823))
    again = await lease(sharing, digest)
    assert again.header.source != leased.header.source or again.offset_bytes != leased.offset_bytes


async def test_leases_are_not_served_without_an_arena(house: House) -> None:
    digest = await put_on_encoder(house, picture(96, 64, seed=824))
    error = await failure(lease(house, digest))
    assert (error.code, error.reason) == ("UNIMPLEMENTED", "NOT_SERVED")
