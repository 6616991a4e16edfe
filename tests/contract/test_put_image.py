"""Uploads through either service: in any number of messages, answered early, refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, digest_of
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)
MIB = 1024 * 1024


@pytest.fixture(params=["encoder", "decoder"])
def door(request: pytest.FixtureRequest, house: House) -> Any:
    return Door(house, request.param)


class Door:
    """PutImage of either service."""

    def __init__(self, house: House, name: str) -> None:
        self._pb2: Any = encoder_pb2 if name == "encoder" else decoder_pb2
        self._stub = getattr(house, name)
        self.seed = 800 if name == "encoder" else 900

    def message(self, data: bytes = b"", **header: Any) -> Any:
        named = self._pb2.PutImageHeader(**header) if header else None
        return self._pb2.PutImageRequest(header=named, data=data)

    def put(self, messages: Any) -> Any:
        return self._stub.PutImage(messages, timeout=CALL_S)


async def test_header_and_bytes_may_share_a_message(door: Door) -> None:
    data = picture(seed=door.seed)
    put = await door.put(iter([door.message(data, digest=digest_of(data), byte_size=len(data))]))
    assert (put.facts.digest, put.facts.byte_size, put.already_stored) == (digest_of(data), len(data), False)
    assert (put.facts.size.width, put.facts.size.height) == (96, 64)


async def test_no_header_is_needed(door: Door) -> None:
    data = picture(seed=door.seed + 1)
    put = await door.put(iter([door.message(data)]))
    assert put.facts.digest == digest_of(data)


@pytest.mark.parametrize("named", [True, False], ids=["with a digest", "without"])
async def test_messages_of_any_size_form_an_image(door: Door, named: bool) -> None:
    data = picture(200, 200, seed=door.seed + 2 + named)

    def messages() -> Iterator[Any]:
        yield door.message(digest=digest_of(data)) if named else door.message()
        for at in range(0, len(data), 7001):
            yield door.message(data[at : at + 7001])
            yield door.message()  # an empty piece changes nothing

    put = await door.put(messages())
    assert put.facts.digest == digest_of(data)


async def test_a_stored_id_is_answered_before_any_byte_is_sent(door: Door) -> None:
    """The rest of the upload never arrives; a server that waited for it would time out."""
    data = picture(seed=door.seed + 4)
    first = await door.put(iter([door.message(data)]))
    never = asyncio.Event()

    async def header_only() -> AsyncIterator[Any]:
        yield door.message(digest=digest_of(data))
        await never.wait()

    again = await door.put(header_only())
    assert again.already_stored
    assert again.facts == first.facts


async def test_storing_an_image_twice_stores_it_once(door: Door) -> None:
    data = picture(seed=door.seed + 5)
    first = await door.put(iter([door.message(data)]))
    second = await door.put(iter([door.message(data)]))
    assert (first.already_stored, second.already_stored) == (False, True)
    assert first.facts == second.facts


async def test_bytes_of_another_digest_are_refused(door: Door) -> None:
    data, other = picture(seed=door.seed + 6), picture(seed=door.seed + 7)
    error = await failure(door.put(iter([door.message(data, digest=digest_of(other))])))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
    assert error.metadata == {"announced": digest_of(other), "actual": digest_of(data)}
    assert set(error.violations) == {"header.digest"}


@pytest.mark.parametrize(
    "unfit", ["sha256:", "sha256:" + "G" * 64, "sha256:" + "A" * 64, "0" * 64, "../../x"]
)
async def test_an_invalid_digest_is_refused(door: Door, unfit: str) -> None:
    error = await failure(door.put(iter([door.message(picture(), digest=unfit)])))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert set(error.violations) == {"header.digest"}


async def test_an_announced_size_above_the_limit_is_refused_before_the_bytes_come(door: Door) -> None:
    never = asyncio.Event()

    async def header_only() -> AsyncIterator[Any]:
        yield door.message(byte_size=32 * MIB + 1)
        await never.wait()

    error = await failure(door.put(header_only()))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")
    assert (error.metadata["limit"], error.metadata["actual"]) == (str(32 * MIB), str(32 * MIB + 1))


@pytest.mark.parametrize("named", [True, False], ids=["with a digest", "without"])
async def test_more_bytes_than_allowed_are_refused(door: Door, named: bool) -> None:
    piece = bytes(3 * MIB)

    def messages() -> Iterator[Any]:
        yield door.message(digest="sha256:" + "5" * 64) if named else door.message()
        for _ in range(11):
            yield door.message(piece)

    error = await failure(door.put(messages()))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")
    assert error.metadata["limit"] == str(32 * MIB)
    assert int(error.metadata["actual"]) > 32 * MIB


@pytest.mark.parametrize("messages", [0, 1, 3])
async def test_no_bytes_are_no_image(door: Door, messages: int) -> None:
    error = await failure(door.put(iter([door.message()] * messages)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "IMAGE_EMPTY")
