"""Requests above a limit are refused, never clamped; errors carry the limit, the value, and what would fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, LONG_WINDED, House, decoder, read, request, rest_of
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)
CONTEXT = 256


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(house: House) -> AsyncIterator[decoder_pb2_grpc.DecoderServiceStub]:
    """A decoder with a context of 256 tokens, on the same encoder."""
    changes = {"max_context": CONTEXT, "max_new_tokens": 32, "default_max_new_tokens": 16, "max_images": 3}
    service = decoder(house.model, [house.encoder_side.address], kv_tokens=1024, **changes)
    try:
        await service.until_ready()
        yield decoder_pb2_grpc.DecoderServiceStub(service.channel)
    finally:
        await service.stop()


Stub = decoder_pb2_grpc.DecoderServiceStub


@pytest.mark.parametrize("images", [1, 3])
async def test_an_over_long_prompt_names_the_largest_size_that_fits(narrow: Stub, images: int) -> None:
    """That size works; another pixel does not."""
    data = [picture(640, 480 + 32 * at, seed=760 + at) for at in range(images)]
    error = await failure(narrow.Generate(request("?", data, max_new_tokens=8), timeout=CALL_S))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "CONTEXT_TOO_LONG")
    assert error.metadata["limit"] == str(CONTEXT)
    assert int(error.metadata["prompt_tokens"]) + 8 > CONTEXT
    fits = int(error.metadata["max_pixels_that_fits"])
    assert str(fits) in error.message
    fitting = request("?", data, max_new_tokens=8, max_pixels=fits)
    answered = await read(narrow.Generate(fitting, timeout=CALL_S))
    assert answered.started.prompt_tokens + 8 <= CONTEXT
    larger = request("?", data, max_new_tokens=8, max_pixels=fits + 1)
    assert (await failure(narrow.Generate(larger, timeout=CALL_S))).reason == "CONTEXT_TOO_LONG"


async def test_a_text_that_is_too_long_says_so_with_and_without_an_image(narrow: Stub) -> None:
    text = "How many rows does the table have? " * 60
    error = await failure(narrow.Generate(request(text), timeout=CALL_S))
    assert error.reason == "CONTEXT_TOO_LONG"
    error = await failure(narrow.Generate(request(text, [picture()]), timeout=CALL_S))
    assert error.reason == "CONTEXT_TOO_LONG"
    assert error.metadata.get("max_pixels_that_fits", "0") == "0"


async def test_a_huge_text_is_refused_without_tokenizing_it(narrow: Stub) -> None:
    """Tokenizing 20 MB takes many seconds and would delay other calls."""
    error = await failure(narrow.Generate(request("x" * 20_000_000), timeout=CALL_S))
    assert error.reason == "CONTEXT_TOO_LONG"


async def test_an_over_long_request_is_still_counted(narrow: Stub) -> None:
    message = request("?", [picture(640, 480, seed=760)], max_new_tokens=8)
    count = await narrow.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S)
    assert not count.fits_context
    assert count.visual_tokens == 300


async def test_max_new_tokens_above_the_cap_is_refused_not_clamped(narrow: Stub) -> None:
    error = await failure(narrow.Generate(request("?", max_new_tokens=33), timeout=CALL_S))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MAX_NEW_TOKENS_TOO_LARGE")
    assert (error.metadata["limit"], error.metadata["max_new_tokens"]) == ("32", "33")
    assert len((await read(narrow.Generate(request("?", max_new_tokens=32), timeout=CALL_S))).token_ids) <= 32


async def test_without_max_new_tokens_the_default_holds(narrow: Stub) -> None:
    message = request("How many?")
    message.sampling.ClearField("max_new_tokens")
    assert len((await read(narrow.Generate(message, timeout=CALL_S))).token_ids) <= 16


async def test_the_cap_of_an_unconfigured_server_is_512(house: House) -> None:
    limits = (await house.info()).limits
    defaults = (limits.max_new_tokens, limits.default_max_new_tokens, limits.max_context)
    assert defaults == (512, 256, 8192)
    error = await failure(house.decoder.Generate(request("?", max_new_tokens=513), timeout=CALL_S))
    assert error.reason == "MAX_NEW_TOKENS_TOO_LARGE"


async def test_more_images_than_allowed_are_refused(narrow: Stub) -> None:
    message = request("?", [picture(seed=770 + at) for at in range(4)])
    error = await failure(narrow.Generate(message, timeout=CALL_S))
    assert (error.reason, error.metadata["limit"], error.metadata["actual"]) == ("TOO_MANY_IMAGES", "3", "4")


@pytest.mark.parametrize("max_pixels", [1, 4095, 16_777_217, 2**32 - 1])
async def test_max_pixels_outside_of_the_checkpoints_limits_is_refused(house: House, max_pixels: int) -> None:
    message = request("?", [picture()], max_pixels=max_pixels)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert set(error.violations) == {"visual.max_pixels"}
    assert (error.metadata["least"], error.metadata["limit"]) == ("4096", "16777216")


async def test_max_pixels_of_zero_is_a_value_and_is_refused(house: House) -> None:
    """The field is optional: 0 is set, not absent."""
    message = request("?", [picture()])
    message.visual.max_pixels = 0
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert set(error.violations) == {"visual.max_pixels"}
    count = encoder_pb2.CountTokensRequest(width=64, height=64, max_pixels=0)
    assert (await failure(house.encoder.CountTokens(count, timeout=CALL_S))).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("size", [(0, 64), (64, 0), (201, 1), (1, 4_000_000_000)])
async def test_impossible_sizes_are_not_counted(house: House, size: tuple[int, int]) -> None:
    message = encoder_pb2.CountTokensRequest(width=size[0], height=size[1])
    error = await failure(house.encoder.CountTokens(message, timeout=CALL_S))
    assert error.code == "INVALID_ARGUMENT"


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1.0), ("temperature", NAN), ("temperature", INF), ("temperature", -INF),
        ("temperature", 1e30), ("top_p", 0.0), ("top_p", -0.0), ("top_p", 1.5), ("top_p", NAN), ("top_p", INF),
        ("min_p", 2.0), ("min_p", -1e-30), ("min_p", NAN), ("min_p", INF), ("repetition_penalty", 0.0),
        ("repetition_penalty", 1e-45), ("repetition_penalty", 1e-30), ("repetition_penalty", 0.009),
        ("repetition_penalty", 101.0), ("repetition_penalty", 1e30), ("repetition_penalty", NAN),
        ("repetition_penalty", INF), ("max_new_tokens", 0), ("stop", [""]), ("stop", ["x"] * 17),
        ("presence_penalty", 2.1), ("presence_penalty", -2.1), ("presence_penalty", NAN),
        ("frequency_penalty", 2.1), ("frequency_penalty", -2.1), ("frequency_penalty", INF),
    ],
)  # fmt: skip
async def test_sampling_outside_of_its_range_is_refused_with_field_limit_and_value(
    house: House, field: str, value: float | list[str]
) -> None:
    message = request("?", max_new_tokens=1)
    if isinstance(value, list):
        message.sampling.stop.extend(value)
    else:
        setattr(message.sampling, field, value)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert error.code == "INVALID_ARGUMENT"
    assert set(error.violations) == {f"sampling.{field}"}
    assert error.metadata["field"] == f"sampling.{field}"
    assert error.metadata["limit"] in error.message
    assert error.metadata["actual"] in error.message
    if isinstance(value, float):
        assert float(error.metadata["actual"]) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("biases", "field", "limit", "actual"),
    [
        ({5: 100.5}, "sampling.logit_bias[5]", "between -100 and 100", "100.5"),
        ({5: 1.0, 6: NAN}, "sampling.logit_bias[6]", "between -100 and 100", "nan"),
        ({2**31: 1.0}, f"sampling.logit_bias[{2**31}]", "of a token id below", str(2**31)),
        (dict.fromkeys(range(301), 1.0), "sampling.logit_bias", "at most 300 entries", "301"),
    ],
)
async def test_biases_outside_of_their_range_are_refused_with_field_limit_and_value(
    house: House, biases: dict[int, float], field: str, limit: str, actual: str
) -> None:
    message = request("?", max_new_tokens=1)
    message.sampling.logit_bias.update(biases)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert (error.code, set(error.violations)) == ("INVALID_ARGUMENT", {field})
    assert (error.metadata["field"], error.metadata["actual"]) == (field, actual)
    assert limit in error.metadata["limit"]


async def test_more_alternatives_than_20_are_refused(house: House) -> None:
    message = request("?", max_new_tokens=1)
    message.logprobs.top = 21
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert (error.code, set(error.violations)) == ("INVALID_ARGUMENT", {"logprobs.top"})
    assert (error.metadata["limit"], error.metadata["actual"]) == ("between 0 and 20", "21")


@pytest.mark.parametrize("field", ["keep", "near_repeats"])
@pytest.mark.parametrize("value", [NAN, INF, -INF, 0.0, -0.0, -1e-30, 1.5])
async def test_invalid_shares_are_refused_with_field_limit_and_value(
    house: House, field: str, value: float
) -> None:
    message = request("?", max_new_tokens=1)
    setattr(message.visual.reduction, field, value)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert set(error.violations) == {f"visual.reduction.{field}"}
    assert error.metadata["limit"] == "above 0 and at most 1"
    assert float(error.metadata["actual"]) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-20, 0.005])
@pytest.mark.parametrize("knobs", [{}, {"top_k": 5}, {"top_p": 1e-45}, {"min_p": 1.0}])
async def test_a_temperature_near_zero_takes_the_likeliest_token(
    house: House, temperature: float, knobs: dict[str, Any]
) -> None:
    greedy = await read(house.decoder.Generate(request("How many?", max_new_tokens=4), timeout=CALL_S))
    for seed in range(3):
        message = request("How many?", max_new_tokens=4)
        message.sampling.MergeFrom(decoder_pb2.Sampling(seed=seed, temperature=temperature, **knobs))
        assert (await read(house.decoder.Generate(message, timeout=CALL_S))).token_ids == greedy.token_ids


async def test_a_full_queue_is_refused_with_a_retry_delay(house: House) -> None:
    service = decoder(
        house.model,
        [house.encoder_side.address],
        max_running=1,
        max_waiting=1,
        max_context=512,
        kv_tokens=512,
    )
    try:
        await service.until_ready()
        stub = decoder_pb2_grpc.DecoderServiceStub(service.channel)
        calls = [stub.Generate(request(LONG_WINDED, max_new_tokens=300), timeout=CALL_S) for _ in range(2)]
        for call in calls:
            assert (await call.read()).WhichOneof("event") == "started"
        await _until_held(stub, 2)
        error = await failure(stub.Generate(request("?", max_new_tokens=1), timeout=CALL_S))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "ENGINE_BUSY")
        assert error.retry_s
        for call in calls:
            call.cancel()
    finally:
        await service.stop()


async def test_a_busy_stream_is_refused_before_anything_is_sent(house: House) -> None:
    """gRPC clients do not retry a stream after headers or a message."""
    service = decoder(
        house.model,
        [house.encoder_side.address],
        max_running=1,
        max_waiting=1,
        max_context=512,
        kv_tokens=512,
    )
    try:
        await service.until_ready()
        stub = decoder_pb2_grpc.DecoderServiceStub(service.channel)
        calls = [stub.Generate(request(LONG_WINDED, max_new_tokens=300), timeout=CALL_S) for _ in range(12)]
        refused = [call for call in calls if not await _started(call)]
        assert len(refused) == 10
        for call in refused:
            assert not dict(await call.initial_metadata())
            assert (await call.code()).name == "RESOURCE_EXHAUSTED"
        for call in calls:
            call.cancel()
    finally:
        await service.stop()


async def test_a_tenant_has_at_most_its_requests_and_images_at_once(house: House) -> None:
    service = decoder(
        house.model,
        [house.encoder_side.address],
        max_tenant_requests=2,
        max_tenant_images=3,
        max_context=1024,
        kv_tokens=4096,
    )
    try:
        await service.until_ready()
        stub = decoder_pb2_grpc.DecoderServiceStub(service.channel)
        limits = (await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)).limits
        assert (limits.max_tenant_requests, limits.max_tenant_images) == (2, 3)
        data = [picture(96, 64, seed=at) for at in range(4)]
        calls = [stub.Generate(request(LONG_WINDED, data[:2], max_new_tokens=300), timeout=CALL_S)]
        assert (await calls[0].read()).WhichOneof("event") == "started"
        error = await failure(stub.Generate(request("?", data[:2], max_new_tokens=1), timeout=CALL_S))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TENANT_BUSY")
        assert error.metadata == {"field": "max_tenant_images", "limit": "3", "actual": "4"}
        assert error.retry_s
        calls += [stub.Generate(request(LONG_WINDED, data[:1], max_new_tokens=300), timeout=CALL_S)]
        assert (await calls[1].read()).WhichOneof("event") == "started"
        error = await failure(stub.Generate(request("?", max_new_tokens=1), timeout=CALL_S))
        assert error.metadata == {"field": "max_tenant_requests", "limit": "2", "actual": "3"}
        for call in calls:
            call.cancel()
        await _until_held(stub, 0)
        error = await failure(stub.Generate(request("?", data, max_new_tokens=1), timeout=CALL_S))
        assert (error.reason, error.retry_s) == ("TENANT_BUSY", None)
        await read(stub.Generate(request("?", data[:3], max_new_tokens=1), timeout=CALL_S))
    finally:
        await service.stop()


async def _started(call: grpc.aio.UnaryStreamCall) -> bool:
    try:
        return (await call.read()).WhichOneof("event") == "started"
    except grpc.aio.AioRpcError:
        return False


@pytest.mark.long
async def test_stalled_readers_hold_no_slots(house: House) -> None:
    """Two callers stop reading; once the engine is idle, others are answered."""
    service = decoder(
        house.model,
        [house.encoder_side.address],
        max_running=1,
        max_waiting=1,
        max_context=512,
        kv_tokens=512,
    )
    small_window = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))
    try:
        await service.until_ready()
        stub = decoder_pb2_grpc.DecoderServiceStub(service.channel)
        async with grpc.aio.insecure_channel(service.address, options=small_window) as channel:
            slow = decoder_pb2_grpc.DecoderServiceStub(channel)
            message = request(LONG_WINDED, max_new_tokens=400)
            message.logprobs.SetInParent()
            calls = [slow.Generate(message, timeout=CALL_S) for _ in range(2)]
            for call in calls:
                assert (await call.read()).WhichOneof("event") == "started"
            await _until_held(stub, 0)
            for _ in range(3):
                await read(stub.Generate(request("?", max_new_tokens=1), timeout=CALL_S))
            for call in calls:
                assert (await rest_of(call))[-1].WhichOneof("event") == "finished"
    finally:
        await service.stop()


async def _until_held(stub: Stub, requests: int) -> None:
    """The bound only guards against hanging."""
    async with asyncio.timeout(CALL_S):
        while True:
            info = await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
            if info.load.running + info.load.waiting == requests:
                return
