"""Request ids: the caller's id if it is valid, otherwise a new id; in headers of an answer, in details of a
failure.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, request
from tests.e2e.pictures import picture

UNFIT = ["zwei Wörter\n", "tab\there", "x" * 129, "日本語", "\x00", "naïve"]


def complete(house: House, request_id: str = "", **options: Any) -> Any:
    generate = request("?", max_new_tokens=1)
    generate.request_id = request_id
    message = decoder_pb2.CompleteRequest(request=generate)
    return house.decoder.Complete(message, timeout=CALL_S, **options)


async def initial_id(call: Any) -> str:
    ids = [value for key, value in await call.initial_metadata() if key == "x-request-id"]
    assert len(ids) == 1
    return str(ids[0])


async def test_a_given_id_comes_back_everywhere(house: House) -> None:
    call = complete(house, "order 66/a")
    assert await initial_id(call) == "order 66/a" == (await call).request_id


async def test_an_id_in_the_metadata_counts_where_the_field_is_empty(house: House) -> None:
    sent = (("x-request-id", "from-metadata"),)
    assert await initial_id(complete(house, metadata=sent)) == "from-metadata"
    assert await initial_id(complete(house, "from-field", metadata=sent)) == "from-field"


async def test_without_an_id_each_call_gets_its_own(house: House) -> None:
    ids = [await initial_id(complete(house)) for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(ids)


@pytest.mark.parametrize("unfit", UNFIT)
async def test_an_invalid_id_is_replaced_and_never_echoed(house: House, unfit: str) -> None:
    call = complete(house, unfit)
    error = await initial_id(call)
    assert error != unfit
    assert error.isascii()
    assert (await call).request_id == error


async def test_streams_and_encoders_get_the_request_id(house: House) -> None:
    message = request("?", max_new_tokens=1)
    message.request_id = "streamed"
    call = house.decoder.Generate(message, timeout=CALL_S)
    assert await initial_id(call) == "streamed"
    assert (await call.read()).started.request_id == "streamed"
    call.cancel()
    info = house.encoder.GetServerInfo(
        encoder_pb2.GetServerInfoRequest(), timeout=CALL_S, metadata=(("x-request-id", "to-encoder"),)
    )
    assert await initial_id(info) == "to-encoder"


async def test_a_failed_call_names_its_id_in_the_details(house: House) -> None:
    message = request("?", ["sha256:" + "0" * 64])
    message.request_id = "will-fail"
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert error.request_id == "will-fail"


async def test_both_logs_have_the_request_id_and_the_decoders_log_the_receipt(house: House) -> None:
    message = request("?", [picture(seed=790)], max_new_tokens=1)
    message.request_id = "caused by me"
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await house.ask(message)
    ours = [line for line in lines if line.get("request_id") == "caused by me"]
    calls = {line["method"].split("/")[-1] for line in ours if line["event"] == "call"}
    assert calls >= {"DescribeImage", "PutImage", "Encode", "Generate"}
    (receipt,) = [line for line in ours if line["event"] == "receipt"]
    assert receipt["totals"]["naive_visual_tokens"] == receipt["images"][0]["tokens_full"] > 0


async def test_calls_that_share_an_id_are_all_answered(house: House) -> None:
    """A trace may cause several calls; the id only labels them in the logs."""
    message = request("?", max_new_tokens=4)
    message.request_id = "one trace"
    answered = await asyncio.gather(*(house.ask(message) for _ in range(5)))
    assert {a.started.request_id for a in answered} == {"one trace"}
    assert len({tuple(a.token_ids) for a in answered}) == 1
