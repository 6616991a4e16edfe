"""Everything that multiplies the cost of a request, a connection or a caller is a limit of GetServerInfo with a test.

`TESTED` names for each limit the test that goes to the limit and past it. A new field of the limits needs a line.
"""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import image_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, request

ROOT = Path(__file__).parents[2]
HERE, CONNECTIONS = "contract/test_multipliers.py", "server/test_connections.py"
IMAGES, DECODER = "encoder/images/test_refused.py", "encoder/images/test_decoder.py"
READER = "encoder/reading/test_reader.py"
ADMISSION, LIMITS_FILE = "decoder/test_admission.py", "contract/test_limits.py"
TESTED = {
    "max_message_bytes": f"{HERE}::test_a_message_at_the_limit_is_read_and_a_longer_message_is_not",
    "max_in_flight_bytes": "server/test_messages.py::test_requests_of_running_calls_hold_a_bounded_number_of_bytes",
    "max_request_fields": "server/test_messages.py::test_the_fields_of_a_request_are_bounded",
    "max_connections": f"{CONNECTIONS}::test_a_connection_too_many_is_closed_and_makes_no_call_wait",
    "max_connection_streams": f"{CONNECTIONS}::test_calls_beyond_the_streams_of_a_connection_wait_and_are_served",
    "max_metadata_bytes": f"{CONNECTIONS}::test_metadata_has_an_exact_limit",
    "max_public_streams": f"{CONNECTIONS}::test_public_streams_are_bounded_and_calls_go_on",
    "connection_idle_s": f"{CONNECTIONS}::test_a_connection_without_calls_is_closed",
    "idle_s": "server/test_messages.py::test_an_upload_that_trickles_ends_at_last",
    "max_image_bytes": f"{IMAGES}::test_bytes_at_the_limit_pass_and_more_do_not",
    "max_image_pixels": f"{IMAGES}::test_pixels_at_the_limit_pass_and_another_row_does_not",
    "max_image_side": f"{IMAGES}::test_a_side_at_the_limit_passes_and_a_longer_side_does_not",
    "max_image_aspect": f"{IMAGES}::test_an_aspect_of_200_passes_and_of_201_does_not",
    "max_jpeg_scans": f"{IMAGES}::test_scans_at_the_limit_pass_and_more_do_not",
    "max_pixels": f"{HERE}::test_max_pixels_at_both_bounds_is_served_and_a_pixel_further_is_not",
    "min_pixels": f"{HERE}::test_max_pixels_at_both_bounds_is_served_and_a_pixel_further_is_not",
    "default_max_pixels": "contract/test_plans.py",
    "max_images": f"{HERE}::test_as_many_images_as_allowed_are_counted_and_another_is_refused",
    "max_stop_strings": f"{HERE}::test_as_many_stop_strings_as_allowed_are_served_and_another_is_refused",
    "max_context": "contract/test_limits.py::test_an_over_long_prompt_names_the_largest_size_that_fits",
    "max_new_tokens": "contract/test_limits.py::test_max_new_tokens_above_the_cap_is_refused_not_clamped",
    "default_max_new_tokens": "contract/test_limits.py::test_without_max_new_tokens_the_default_holds",
    "max_running": "contract/test_limits.py::test_a_busy_stream_is_refused_before_anything_is_sent",
    "max_waiting": "contract/test_limits.py::test_a_full_queue_is_refused_with_a_retry_delay",
    "max_queue": "encoder/vision/test_batcher.py::test_a_full_queue_is_refused_with_a_retry_delay",
    "max_batch_patches": "encoder/vision/test_batcher.py::test_no_batch_exceeds_its_patches",
    "max_format_bytes": "decoder/native_engine/test_grammar.py::test_a_format_above_the_limit_names_both_sizes",
    "max_tools": "decoder/prompt/test_tool_chats.py::test_limits_of_tools_are_named",
    "max_tool_bytes": "decoder/prompt/test_tool_chats.py::test_limits_of_tools_are_named",
    "max_format_s": "decoder/sampling/test_formats.py::test_time_has_a_limit_that_is_named",
    "max_format_memory_bytes": "decoder/sampling/test_formats.py::test_memory_has_a_limit_that_is_named",
    "format_workers": "decoder/sampling/test_formats.py::test_callers_beyond_the_queue_limit_get_a_retry_delay",
    "cache_bytes": "encoder/store/test_eviction.py::test_uploads_and_rows_have_bounds_of_their_own",
    "uploads_bytes": "encoder/store/test_eviction.py::test_uploads_and_rows_have_bounds_of_their_own",
    "arena_bytes": "e2e/test_same_host.py::test_a_full_arena_refuses_before_encoding",
    "arena_lease_s": "encoder/test_slots.py",
    "text_workers": f"{READER}::test_no_more_images_are_read_at_a_time_than_there_are_workers",
    "max_text_s": f"{READER}::test_an_image_above_a_limit_is_refused_by_its_name_and_the_third_time_without_a_worker",
    "max_text_memory_bytes": f"{READER}::test_an_image_above_a_limit_is_refused_by_its_name_and_the_third_time_without_a_worker",
    "max_text_bytes": f"{READER}::test_text_longer_than_allowed_is_refused_not_cut",
    "max_text_queue": "encoder/test_texts.py::test_a_full_queue_refuses_and_a_tenant_has_half_of_it",
    "row_cache_bytes": "decoder/encoders/test_cache.py::test_the_bound_holds_and_the_least_recently_used_goes_first",
    "row_cache_s": "decoder/encoders/test_cache.py::test_rows_that_are_too_old_are_fetched_anew",
    "decode_workers": f"{DECODER}::test_other_images_are_decoded_while_a_worker_is_busy",
    "max_decode_s": f"{DECODER}::test_an_image_above_a_limit_is_refused_by_its_name_and_the_third_time_without_a_worker",
    "max_decode_memory_bytes": f"{DECODER}::test_an_image_above_a_limit_is_refused_by_its_name_and_the_third_time_without_a_worker",
    "default_deadline_s": f"{ADMISSION}::test_a_request_without_a_deadline_waits_no_longer_than_the_default",
    "max_wait_share": f"{ADMISSION}::test_a_request_that_would_wait_too_long_is_refused_at_once",
    "max_waiting_tokens": f"{ADMISSION}::test_tokens_are_bounded_at_the_limit_and_not_below",
    "max_preparing": f"{ADMISSION}::test_at_most_max_preparing_requests_prepare_and_the_first_token_frees_a_place",
    "max_tenant_requests": f"{LIMITS_FILE}::test_a_tenant_has_at_most_its_requests_and_images_at_once",
    "max_tenant_images": f"{LIMITS_FILE}::test_a_tenant_has_at_most_its_requests_and_images_at_once",
    "tenant_share": "encoder/store/test_tenant_share.py",
    "encoder_timeout_s": "decoder/encoders/test_silence.py::test_a_call_that_is_not_answered_ends_without_a_deadline",
}  # fmt: skip
LIMITS = {
    field.name
    for limits in (encoder_pb2.EncoderLimits, decoder_pb2.DecoderLimits)
    for field in limits.DESCRIPTOR.fields
}


@pytest.mark.parametrize("limit", sorted(LIMITS))
def test_every_limit_names_its_test(limit: str) -> None:
    file, _, name = TESTED[limit].partition("::")
    assert re.search(
        rf"def {name}\b" if name else "def test_", (ROOT / "tests" / file).read_text(encoding="utf-8")
    )


async def test_every_limit_is_set(house: House) -> None:
    """An unset field would promise that nothing is allowed."""
    encoder = await house.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    unset = {
        field.name
        for info in (encoder, await house.info())
        for field in info.limits.DESCRIPTOR.fields
        if not getattr(info.limits, field.name)
    }
    assert unset <= {
        "row_cache_bytes",
        "arena_bytes",
        "max_tenant_requests",
        "max_tenant_images",
        "tenant_share",
    }  # 0 turns them off


@pytest.mark.parametrize(("extra", "code"), [(0, "INVALID_ARGUMENT"), (1, "RESOURCE_EXHAUSTED")])
async def test_a_message_at_the_limit_is_read_and_a_longer_message_is_not(
    house: House, extra: int, code: str
) -> None:
    """At the limit it is read, and refused for what it is: no image. gRPC's core refuses what is longer."""
    limit = (await house.info()).limits.max_message_bytes
    overhead = encoder_pb2.PutImageRequest(data=bytes(limit)).ByteSize() - limit
    message = encoder_pb2.PutImageRequest(data=bytes(limit - overhead + extra))
    assert message.ByteSize() == limit + extra
    call = house.encoder.PutImage(iter([message]), timeout=CALL_S)
    assert (await call.code()).name == code


async def test_max_pixels_at_both_bounds_is_served_and_a_pixel_further_is_not(house: House) -> None:
    info = await house.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    for bound, past in ((info.limits.min_pixels, -1), (info.limits.max_pixels, 1)):
        await house.encoder.CountTokens(_size(bound), timeout=CALL_S)
        error = await failure(house.encoder.CountTokens(_size(bound + past), timeout=CALL_S))
        assert error.code == "INVALID_ARGUMENT"


def _size(max_pixels: int) -> encoder_pb2.CountTokensRequest:
    return encoder_pb2.CountTokensRequest(width=640, height=480, max_pixels=max_pixels)


async def test_as_many_images_as_allowed_are_counted_and_another_is_refused(house: House) -> None:
    limit = (await house.info()).limits.max_images
    size = decoder_pb2.Part(image=decoder_pb2.Image(size=image_pb2.Size(width=64, height=64)))
    message = request("?")
    message.messages[0].parts.extend([size] * limit)
    counted = await house.decoder.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S)
    assert counted.visual_tokens
    message.messages[0].parts.append(size)
    count = house.decoder.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S)
    assert (await failure(count)).reason == "TOO_MANY_IMAGES"


async def test_as_many_stop_strings_as_allowed_are_served_and_another_is_refused(house: House) -> None:
    limit = (await house.info()).limits.max_stop_strings
    message = request("?", max_new_tokens=1)
    message.sampling.stop.extend(f"stop {number}" for number in range(limit))
    call = house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    assert await call.code() is grpc.StatusCode.OK
    message.sampling.stop.append("another")
    call = house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    assert set((await failure(call)).violations) == {"sampling.stop"}
