"""Bad images through the public API: each gets a typed error, both services keep serving, stored data
survives.
"""

from __future__ import annotations

import asyncio

import pytest

from fovea.decoder.v1 import decoder_pb2
from tests.contract.bad_images import BAD
from tests.e2e.failures import Failure, failure
from tests.e2e.house import CALL_S, House, digest_of, request
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)
# What the metadata must name where a limit was broken.
LIMITED = {
    "IMAGE_TOO_MANY_PIXELS": "25000000",
    "IMAGE_SIDE_TOO_LONG": "16384",
    "IMAGE_ASPECT_TOO_EXTREME": "200",
    "IMAGE_TOO_MANY_SCANS": "100",
}


def check(error: Failure, reason: str) -> None:
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert error.violations
    if reason in LIMITED:
        assert error.metadata["limit"] == LIMITED[reason]
        assert float(error.metadata["actual"]) > float(LIMITED[reason])


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_image_is_refused_with_its_reason_by_both_services(house: House, name: str) -> None:
    make, reason = BAD[name]
    data = make()
    message = request("?", [data], max_new_tokens=1)
    check(await failure(house.decoder.Generate(message, timeout=CALL_S)), reason)
    complete = decoder_pb2.CompleteRequest(request=message)
    check(await failure(house.decoder.Complete(complete, timeout=CALL_S)), reason)
    count = decoder_pb2.CountTokensRequest(request=message)
    check(await failure(house.decoder.CountTokens(count, timeout=CALL_S)), reason)
    check(await failure(house.put(data)), reason)
    error = await failure(house.decoder.Generate(request("?", [digest_of(data)]), timeout=CALL_S))
    assert error.reason == "IMAGE_NOT_STORED"


async def test_both_services_continue_and_lose_no_record(house: House) -> None:
    """All bad images concurrently, with good requests in between."""
    good = request("What is it?", [picture(seed=751)], max_new_tokens=6)
    before = await house.ask(good)
    held = await house.stats()
    bad = [
        failure(house.decoder.Generate(request("?", [make()], max_new_tokens=1), timeout=CALL_S))
        for make, _ in BAD.values()
    ]
    errors, *answered = await asyncio.gather(asyncio.gather(*bad), *(house.ask(good) for _ in range(4)))
    assert [f.reason for f in errors] == [reason for _, reason in BAD.values()]
    assert {tuple(a.token_ids) for a in answered} == {tuple(before.token_ids)}
    assert {source for a in answered for source in a.sources} == {"ROW_SOURCE_ROWS"}
    after = await house.stats()
    assert after.records >= held.records  # the first answer's rows may have been on their way to the disk
    assert after.uploads == held.uploads
    assert after.upload_bytes == held.upload_bytes
    assert await house.encoder_side.health() == await house.decoder_side.health() == "SERVING"


async def test_a_bad_image_among_good_images_fails_the_call(house: House) -> None:
    """Never a silent answer about the other images."""
    make, reason = BAD["png cut off"]
    message = request("?", [picture(seed=752), make(), picture(seed=753)], max_new_tokens=1)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    check(error, reason)
    assert list(error.violations) == ["messages[0].parts[1].image"]


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_image_is_named_by_its_path(house: House, name: str) -> None:
    make, reason = BAD[name]
    message = request("?", [picture(seed=752), make(), picture(seed=753)], max_new_tokens=1)
    for call in (
        house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S),
        house.decoder.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S),
    ):
        error = await failure(call)
        assert (error.reason, list(error.violations)) == (reason, ["messages[0].parts[1].image"])


async def test_a_missing_or_oversized_image_is_named_by_its_path(house: House) -> None:
    unknown = request("?", [picture(seed=752), digest_of(b"nobody has it")], max_new_tokens=1)
    error = await failure(house.decoder.Generate(unknown, timeout=CALL_S))
    assert (error.code, error.reason) == ("NOT_FOUND", "IMAGE_NOT_STORED")
    assert list(error.violations) == ["messages[0].parts[1].image"]
