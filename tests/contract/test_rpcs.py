"""Every RPC of both services, called by a client with default options (a 4 MiB receive limit)."""

from __future__ import annotations

import re

import grpc
import pytest
from google.protobuf import descriptor, json_format
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import errors_pb2, image_pb2, rows_pb2
from tests.e2e.house import CALL_S, House, Service, digest_of, put_on_encoder, request, rows_of
from tests.e2e.pictures import picture

ENCODER, DECODER = "fovea.encoder.v1.EncoderService", "fovea.decoder.v1.DecoderService"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MIB = 1024 * 1024
FILES = (
    decoder_pb2.DESCRIPTOR, encoder_pb2.DESCRIPTOR, image_pb2.DESCRIPTOR, rows_pb2.DESCRIPTOR,
    errors_pb2.DESCRIPTOR,
)  # fmt: skip


async def test_the_encoder_answers_each_of_its_rpcs(house: House) -> None:
    data = picture(seed=701)
    stub, digest = house.encoder, digest_of(data)
    put = await stub.PutImage(iter([encoder_pb2.PutImageRequest(data=data)]), timeout=CALL_S)
    assert (put.facts.digest, put.already_stored) == (digest, False)
    described = await stub.DescribeImage(encoder_pb2.DescribeImageRequest(digest=digest), timeout=CALL_S)
    assert described.facts == put.facts
    assert described.expire_time == put.expire_time
    rows, header, summary = await rows_of(house, digest)
    assert len(rows) == summary.row_bytes == header.rows * header.layout.row_bytes
    counted = await stub.CountTokens(encoder_pb2.CountTokensRequest(width=96, height=64), timeout=CALL_S)
    assert counted.count == header.count
    info = await stub.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert info.layout == header.layout
    assert info.fingerprint == header.fingerprint
    assert encoder_pb2.ServingState.Name(info.state) == "SERVING_STATE_SERVING"
    stats = await stub.GetCacheStats(encoder_pb2.GetCacheStatsRequest(), timeout=CALL_S)
    assert stats.record_bytes <= stats.record_capacity_bytes == info.limits.cache_bytes
    gone = await stub.DeleteImage(encoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
    assert (gone.uploads, gone.records) == (1, 1)
    nothing = await stub.DeleteImage(encoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
    assert (nothing.uploads, nothing.records, nothing.bytes) == (0, 0, 0)


async def test_the_decoder_answers_each_of_its_rpcs(house: House) -> None:
    data = picture(seed=7021)
    put = await house.put(data)
    assert put.facts.digest == digest_of(data)
    assert put.encoder
    message = request("What is it?", [put.facts.digest], max_new_tokens=6)
    streamed = await house.ask(message)
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    assert whole.text == streamed.text
    assert whole.finish_reason == streamed.finished.finish_reason
    assert whole.model == streamed.started.model
    count = await house.decoder.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S)
    assert count.prompt_tokens == streamed.started.prompt_tokens == count.text_tokens + count.visual_tokens
    assert count.fits_context
    info = await house.info()
    assert count.kv_bytes == count.prompt_tokens * info.kv_bytes_per_token
    assert [peer.compatible for peer in info.encoders] == [True]
    assert decoder_pb2.ServingState.Name(info.state) == "SERVING_STATE_SERVING"
    delete = decoder_pb2.DeleteImageRequest(digest=put.facts.digest)
    gone = await house.decoder.DeleteImage(delete, timeout=CALL_S)
    assert [(each.confirmed, each.uploads) for each in gone.encoders] == [(True, 1)]
    purge = decoder_pb2.PurgeTenantRequest(tenant="nobody")
    nothing = await house.decoder.PurgeTenant(purge, timeout=CALL_S)
    assert [(each.confirmed, each.uploads, each.records) for each in nothing.encoders] == [(True, 0, 0)]


async def test_counting_runs_no_model(house: House) -> None:
    before = await house.encodes()
    message = request("?", [picture(seed=703)])
    await house.decoder.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S)
    assert await house.encodes() == before


async def test_a_full_picture_passes_an_unmodified_client(house: House) -> None:
    """1,280 tokens exceed a chunk; each message stays near 1 MiB, split between rows."""
    digest = await put_on_encoder(house, picture(1280, 1024, seed=704, format="JPEG"))
    call = house.encoder.Encode(encoder_pb2.EncodeRequest(digest=digest), timeout=CALL_S)
    events = [event async for event in call]
    header, chunks = events[0].header, [event.chunk for event in events[1:-1]]
    assert header.rows == 1280
    assert len(chunks) > 1
    assert [event.WhichOneof("event") for event in events] == ["header", *["chunk"] * len(chunks), "summary"]
    at = 0
    for chunk in chunks:
        assert chunk.first_row == at
        assert len(chunk.data) == chunk.rows * header.layout.row_bytes <= MIB
        at += chunk.rows
    assert at == header.rows
    assert digest_of(b"".join(chunk.data for chunk in chunks)) == events[-1].summary.rows_digest


@pytest.mark.parametrize("side", ["encoder_side", "decoder_side"])
async def test_reflection_lists_and_describes_the_services(house: House, side: str) -> None:
    service: Service = getattr(house, side)
    ours = ENCODER if side == "encoder_side" else DECODER
    stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    message = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=ours),
    ]
    listed, described = [reply async for reply in stub.ServerReflectionInfo(iter(message), timeout=CALL_S)]
    names = {entry.name for entry in listed.list_services_response.service}
    assert {ours, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("side", ["encoder_side", "decoder_side"])
async def test_health_answers_known_names_and_refuses_others(house: House, side: str) -> None:
    service: Service = getattr(house, side)
    for name in ("", "readiness", "liveness", ENCODER if side == "encoder_side" else DECODER):
        assert await service.health(name) == "SERVING"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.health("no.such.Service")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_get_server_info_returns_every_limit(house: House) -> None:
    """Every limit of both services has a value, and common limits are equal.

    Row cache and arena are optional, so their 0 is valid.
    """
    ours = (await house.info()).limits
    theirs = (await house.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)).limits
    for limits in (ours, theirs):
        unset = [f.name for f in limits.DESCRIPTOR.fields if not getattr(limits, f.name)]
        assert not set(unset) - {
            "row_cache_bytes",
            "arena_bytes",
            "max_tenant_images",
            "max_tenant_requests",
            "tenant_share",
        }
    shared = {f.name for f in ours.DESCRIPTOR.fields} & {f.name for f in theirs.DESCRIPTOR.fields}
    assert shared >= {"max_message_bytes", "max_image_bytes", "max_pixels", "min_pixels"}
    shared -= {"max_wait_share"}  # a share of the queue of each service
    assert {name: getattr(ours, name) for name in shared} == {name: getattr(theirs, name) for name in shared}
    assert ours.max_message_bytes == 32 * MIB


def _fields(messages: dict[str, descriptor.Descriptor]) -> list[descriptor.FieldDescriptor]:
    matching = []
    for message in messages.values():
        matching += [*message.fields, *_fields(dict(message.nested_types_by_name))]
    return matching


def test_counts_are_numbers_in_json() -> None:
    """JSON encodes 64-bit integers as strings, so only bytes and checksums use them."""
    wide = {descriptor.FieldDescriptor.TYPE_UINT64, descriptor.FieldDescriptor.TYPE_INT64}
    wide |= {descriptor.FieldDescriptor.TYPE_FIXED64, descriptor.FieldDescriptor.TYPE_SFIXED64}
    fields = [field for file in FILES for field in _fields(dict(file.message_types_by_name))]
    matching = {field.name for field in fields if field.type in wide}
    assert {name for name in matching if not name.endswith("bytes")} <= {"xxh3"}


async def test_json_of_an_answer_shows_numbers_and_readable_ids(house: House) -> None:
    message = request("?", [picture(seed=705)], max_new_tokens=3)
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    receipt = json_format.MessageToDict(whole.receipt, preserving_proto_field_name=True)
    image = receipt["images"][0]
    assert DIGEST.fullmatch(image["digest"])
    assert DIGEST.fullmatch(image["rows_digest"])
    assert image["tokens"] == 6
    assert image["patches"] == 24
    assert receipt["totals"]["output_tokens"] == 3


async def test_the_decoder_describes_what_it_stored_and_only_that(house: House) -> None:
    data = picture(seed=7022)
    request = decoder_pb2.DescribeImageRequest(digest=digest_of(data))
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await house.decoder.DescribeImage(request, timeout=CALL_S)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    put = await house.put(data)
    described = await house.decoder.DescribeImage(request, timeout=CALL_S)
    assert (described.facts, described.expire_time) == (put.facts, put.expire_time)
    assert described.encoder == put.encoder == house.encoder_side.address
    with pytest.raises(grpc.aio.AioRpcError) as wrong:
        await house.decoder.DescribeImage(decoder_pb2.DescribeImageRequest(digest="chart"), timeout=CALL_S)
    assert wrong.value.code() is grpc.StatusCode.INVALID_ARGUMENT
