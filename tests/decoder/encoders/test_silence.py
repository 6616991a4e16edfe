"""Encoders that are silent, never end, or send invalid values: each call ends with a typed error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.errors import EncoderChanged
from fovea.contract.errors import (
    DeadlineExceeded,
    EncoderUnavailable,
    FoveaError,
    InvalidArgument,
    RowsMismatch,
)
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tests.decoder.encoders.fakes import EXPECTED, FakeEncoder, served
from tests.decoder.encoders.test_stream import DATA, ROWS, WANTED, good
from tests.e2e.house import free_address

LIMIT_S = 0.4
DIGEST = WANTED.digest
Ask = Callable[[RemoteEncoder, Deadline], Awaitable[Any]]


class Mute(FakeEncoder):
    """Accepts every call. The methods in `mute` never answer, and Encode stops after `says` messages."""

    def __init__(self, *mute: str) -> None:
        super().__init__("mute")
        self.mute = set(mute)
        self.says = 0
        self.cancelled = asyncio.Event()
        self.uploaded = b""

    async def _hang(self, method: str) -> None:
        if method in self.mute:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()

    async def GetServerInfo(self, request, context):
        await self._hang("GetServerInfo")
        return await super().GetServerInfo(request, context)

    async def DescribeImage(self, request, context):
        await self._hang("DescribeImage")
        return await super().DescribeImage(request, context)

    async def PlaceRows(self, request, context):
        await self._hang("PlaceRows")
        return encoder_pb2.PlaceRowsResponse(header=good()[0].header)

    async def LeaseRows(self, request, context):
        await self._hang("LeaseRows")
        first, *_, last = good()
        return encoder_pb2.LeaseRowsResponse(header=first.header, summary=last.summary)

    async def PutImage(self, requests, context):
        await self._hang("PutImage")
        async for request in requests:
            self.uploaded += request.data
        response = encoder_pb2.PutImageResponse()
        response.facts.digest = DIGEST
        response.facts.size.width = response.facts.size.height = 64
        return response

    async def Encode(self, request, context):
        for message in good()[: self.says]:
            yield message
        await self._hang("Encode")
        for message in good()[self.says :]:
            yield message


@asynccontextmanager
async def peer_of(encoder: FakeEncoder, limit_s: float = LIMIT_S) -> AsyncIterator[RemoteEncoder]:
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address, limit_s)
        try:
            yield peer
        finally:
            await peer.close()


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def whole(peer: RemoteEncoder, deadline: Deadline) -> bytes:
    return b"".join([bytes(chunk.data) async for chunk in peer.fetch(WANTED, deadline).chunks()])


CALLS: dict[str, Ask] = {
    "DescribeImage": lambda peer, deadline: peer.describe(DIGEST, deadline),
    "PutImage": lambda peer, deadline: peer.put(DIGEST, pieces(b"data"), deadline),
    "PlaceRows": lambda peer, deadline: peer.place(WANTED, deadline, stored_only=True),
    "LeaseRows": lambda peer, deadline: peer.lease(WANTED, deadline),
    "Encode": whole,
}


@pytest.mark.parametrize("method", CALLS)
async def test_a_call_that_is_not_answered_ends_without_a_deadline(method: str) -> None:
    encoder = Mute(method)
    async with peer_of(encoder) as peer:
        with pytest.raises(EncoderUnavailable) as raised:
            await CALLS[method](peer, Deadline())
        assert raised.value.metadata == {"limit": str(LIMIT_S)}
        assert encoder.address not in raised.value.message
        assert raised.value.retry_after_s
        async with asyncio.timeout(30):
            await encoder.cancelled.wait()  # the encoder is told, and stops


@pytest.mark.parametrize("says", range(5))
async def test_rows_that_stop_coming_end_their_fetch(says: int) -> None:
    encoder = Mute("Encode")
    encoder.says = says
    async with peer_of(encoder) as peer:
        with pytest.raises(EncoderUnavailable):
            await whole(peer, Deadline())


@pytest.mark.parametrize("method", CALLS)
async def test_the_callers_deadline_wins(method: str) -> None:
    async with peer_of(Mute(method), limit_s=60.0) as peer:
        with pytest.raises(DeadlineExceeded):
            await CALLS[method](peer, Deadline.after(0.3))


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("left", [-1.0, 0.0, 0.001, 0.05, 0.051, 0.06])
async def test_a_deadline_that_leaves_nothing_is_no_internal_error(method: str, left: float) -> None:
    async with peer_of(Mute(method)) as peer:
        with pytest.raises(DeadlineExceeded):
            await CALLS[method](peer, Deadline.after(left))


async def test_the_handshake_is_bounded() -> None:
    """The handshake has its own limit of a few seconds."""
    async with peer_of(Mute("GetServerInfo")) as peer:
        with pytest.raises(EncoderUnavailable):
            await peer.handshake(EXPECTED, Deadline())


async def test_a_call_waits_for_a_tower_that_completes_images() -> None:
    """The encoder's count of images distinguishes a long queue from silence."""
    encoder = Mute()

    async def busy(request: Any, context: Any) -> Any:
        for _ in range(10):
            await asyncio.sleep(LIMIT_S / 4)
            encoder.load.encodes += 1
        return encoder_pb2.PlaceRowsResponse(header=good()[0].header)

    encoder.PlaceRows = busy
    async with peer_of(encoder) as peer:
        assert not (await peer.place(WANTED, Deadline(), stored_only=True)).known


async def until_up(peer: RemoteEncoder) -> None:
    async with asyncio.timeout(30):
        while peer.link.breaker.open:
            await asyncio.sleep(0.01)


async def test_a_silent_encoder_is_not_called_until_it_answers_a_probe() -> None:
    encoder = Mute("DescribeImage", "GetServerInfo")
    async with peer_of(encoder) as peer:
        with pytest.raises(EncoderUnavailable):
            await peer.describe(DIGEST, Deadline())
        encoder.asked.clear()
        encoder.mute.remove("DescribeImage")
        with pytest.raises(EncoderUnavailable, match="cannot be reached"):
            await peer.describe(DIGEST, Deadline())
        assert not encoder.asked.is_set(), "it was called although it gave no sign of life"
        encoder.mute.clear()
        await until_up(peer)
        assert (await peer.describe(DIGEST, Deadline())).facts.digest == DIGEST


async def test_an_encoder_without_a_sign_of_life_is_given_up_before_the_limit() -> None:
    """Two checks that are not answered tell a dead encoder from a long computation."""
    async with peer_of(Mute("Encode", "GetServerInfo"), limit_s=600.0) as peer:
        with pytest.raises(EncoderUnavailable):
            await whole(peer, Deadline())
        assert peer.link.breaker.open


async def test_an_address_without_a_listener_fails_at_once() -> None:
    peer = RemoteEncoder(free_address())
    with pytest.raises(EncoderUnavailable):
        await peer.describe(DIGEST, Deadline())
    await peer.close()


async def test_a_restarted_encoder_is_called_again() -> None:
    """By itself, regardless of gRPC's current reconnect backoff."""
    address = free_address()
    peer = RemoteEncoder(address)
    for _ in range(4):
        with pytest.raises(EncoderUnavailable):
            await peer.describe(DIGEST, Deadline())
    server = grpc.aio.server()
    encoder_pb2_grpc.add_EncoderServiceServicer_to_server(Mute(), server)
    server.add_insecure_port(address)
    await server.start()
    try:
        await until_up(peer)
        assert (await peer.describe(DIGEST, Deadline())).facts.digest == DIGEST
    finally:
        await peer.close()
        await server.stop(0)


async def test_an_upload_arrives_whole() -> None:
    encoder = Mute()
    async with peer_of(encoder) as peer:
        await peer.put(DIGEST, pieces(b"a" * 3_000_000, b"", b"b"), Deadline())
    assert encoder.uploaded == b"a" * 3_000_000 + b"b"


@pytest.mark.parametrize("failure", [InvalidArgument("no message"), OSError("gone"), ZeroDivisionError()])
async def test_errors_of_the_upload_iterator_are_raised(failure: Exception) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"data"
        raise failure

    encoder = Mute("PutImage")
    async with peer_of(encoder, limit_s=60.0) as peer:
        with pytest.raises(type(failure)):
            await peer.put(DIGEST, failing(), Deadline())
        async with asyncio.timeout(30):
            await encoder.cancelled.wait()


async def test_an_upload_is_answered_before_all_of_it_was_sent() -> None:
    class Early(Mute):
        async def PutImage(self, requests, context):
            response = encoder_pb2.PutImageResponse(already_stored=True)
            response.facts.digest = DIGEST
            response.facts.size.width = response.facts.size.height = 64
            return response

    async def endless() -> AsyncIterator[bytes]:
        yield b"data"
        await asyncio.Event().wait()

    async with peer_of(Early()) as peer:
        assert (await peer.put(DIGEST, endless(), Deadline())).already


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_a_status_of_another_server_is_an_error(code: grpc.StatusCode) -> None:
    """The status comes from a proxy or from gRPC itself, so the caller may retry."""

    class Odd(Mute):
        async def DescribeImage(self, request, context):
            await context.abort(code, "Exception calling application")

    async with peer_of(Odd()) as peer:
        with pytest.raises(FoveaError) as raised:
            await peer.describe(DIGEST, Deadline.after(30))
    unserved = code is grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.reason == ("NOT_SERVED" if unserved else "ENCODER_UNAVAILABLE")


LIES: dict[str, dict[str, Any]] = {
    "another image": {"digest": "sha256:" + "b" * 64},
    "no width": {"width": 0},
    "no height": {"height": 0},
    "text without a height": {"text_height": float("nan")},
    "endless text": {"text_height": float("inf")},
    "a share below nothing": {"edge_density": -0.1},
    "a share above all": {"uniform_share": 1.5},
    "a confidence above all": {"kind_confidence": 1.5},
}


@pytest.mark.parametrize("lie", LIES)
async def test_impossible_facts_are_refused(lie: str) -> None:
    class Lying(Mute):
        async def DescribeImage(self, request, context):
            response = await super().DescribeImage(request, context)
            for name, value in LIES[lie].items():
                setattr(response.facts.size if name in ("width", "height") else response.facts, name, value)
            return response

    async with peer_of(Lying()) as peer:
        with pytest.raises(RowsMismatch):
            await peer.describe(DIGEST, Deadline())


async def test_unknown_enum_values_of_a_later_encoder_are_ignored() -> None:
    class Later(Mute):
        async def DescribeImage(self, request, context):
            response = await super().DescribeImage(request, context)
            response.facts.format, response.facts.kind = 99, 99
            return response

    async with peer_of(Later()) as peer:
        facts = (await peer.describe(DIGEST, Deadline())).facts
        assert (facts.format, facts.kind) == ("UNSPECIFIED", "UNSPECIFIED")


@pytest.mark.parametrize("method", CALLS)
async def test_bytes_that_are_no_message_are_a_typed_error(method: str, caplog: Any) -> None:
    """gRPC would log a traceback and hand on None."""
    garbage = grpc.method_handlers_generic_handler(
        "fovea.encoder.v1.EncoderService", {method: _garbage(method)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((garbage,))
    peer = RemoteEncoder(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", 30.0)
    await server.start()
    try:
        with pytest.raises(RowsMismatch, match="no message"):
            await CALLS[method](peer, Deadline())
    finally:
        await peer.close()
        await server.stop(0)
    assert "Traceback" not in caplog.text


def _garbage(method: str) -> grpc.RpcMethodHandler:
    async def one(request: Any, context: Any) -> bytes:
        return b"\xff\xff\xff"

    async def many(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    if method == "Encode":
        return grpc.unary_stream_rpc_method_handler(many)
    if method == "PutImage":
        return grpc.stream_unary_rpc_method_handler(one)
    return grpc.unary_unary_rpc_method_handler(one)


async def test_an_encoder_that_switches_to_the_right_model_is_used_again() -> None:
    encoder = Mute()
    wrong = replace(EXPECTED, fingerprint="sha256:" + "0" * 64)
    async with peer_of(encoder) as peer:
        with pytest.raises(FoveaError, match="another model"):
            await peer.handshake(wrong, Deadline())
        assert await peer.handshake(EXPECTED, Deadline()) == WANTED.layout


async def test_rows_that_differ_from_the_placed_rows_are_requested_again() -> None:
    """Which rows are kept depends on the encoder's arithmetic, and so on its settings."""

    placed = replace(WANTED, kept=np.zeros(ROWS, np.int32))
    async with peer_of(Mute()) as peer:
        with pytest.raises(EncoderChanged):
            async for _ in peer.fetch(placed, Deadline()).chunks():
                pass


async def test_a_responsive_encoder_is_read_normally() -> None:
    async with peer_of(Mute()) as peer:
        assert await whole(peer, Deadline()) == DATA[: ROWS * WANTED.layout.row_bytes]
