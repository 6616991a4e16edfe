"""Refusals of an encoder: what opens its breaker, and what a caller may read of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from decoder_svc.encoders.refusal import LONGEST_RETRY_S, TEXT_CHARS
from decoder_svc.encoders.remote import RemoteEncoder
from fovea.contract.errors import (
    EncoderBusy,
    EncoderUnavailable,
    FoveaError,
    ImageCorrupt,
    ImageNotStored,
    NotReady,
    RemoteError,
    RoleNotAllowed,
    TenantNotAllowed,
    TokenUnknown,
)
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2
from fovea.server.access import TENANT_KEY
from fovea.server.identity import Identity, Role, set_identity
from fovea.server.status import abort
from tests.decoder.encoders.fakes import FakeEncoder, served
from tests.decoder.encoders.test_failover import WANTED, fleet_of
from tests.decoder.encoders.test_failover import Encoder as Stored

DEADLINE = Deadline()
DIGEST = "sha256:" + "a" * 64


class Refusing(FakeEncoder):
    """Answers DescribeImage with `error`, for the `tenants` only if there are any."""

    def __init__(self, error: FoveaError, *tenants: str) -> None:
        super().__init__("refusing")
        self.error = error
        self.tenants = tenants

    async def DescribeImage(self, request, context):
        tenant = dict(context.invocation_metadata())[TENANT_KEY]
        if not self.tenants or tenant in self.tenants:
            await abort(context, self.error, "")
        return await super().DescribeImage(request, context)


class Loading(FakeEncoder):
    """Refuses calls until `loaded`. It answers GetServerInfo all the time."""

    def __init__(self) -> None:
        super().__init__("loading")
        self.loaded = False
        self.probed = asyncio.Event()

    async def GetServerInfo(self, request, context):
        self.probed.set()
        return (
            await super().GetServerInfo(request, context)
            if self.loaded
            else encoder_pb2.GetServerInfoResponse()
        )

    async def DescribeImage(self, request, context):
        if not self.loaded:
            await abort(context, NotReady(0.5), "")
        return await super().DescribeImage(request, context)


@asynccontextmanager
async def peer_of(encoder: FakeEncoder) -> AsyncIterator[RemoteEncoder]:
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address)
        try:
            yield peer
        finally:
            await peer.close()


async def refusal(error: FoveaError) -> FoveaError:
    """What a caller gets where the encoder refuses with `error`."""
    async with peer_of(Refusing(error)) as peer:
        with pytest.raises(FoveaError) as raised:
            await peer.describe(DIGEST, DEADLINE)
    return raised.value


async def test_an_encoder_that_refuses_a_tenant_serves_the_others() -> None:
    """A decoder with a token of role user may act for its own tenant only."""
    async with peer_of(Refusing(TenantNotAllowed("user"), "other")) as peer:
        for _ in range(3):
            set_identity(Identity(tenant="other", role=Role.USER))
            with pytest.raises(EncoderUnavailable, match="credentials"):
                await peer.describe(DIGEST, DEADLINE)
            assert not peer.link.breaker.open
            set_identity(Identity(tenant="acme", role=Role.USER))
            assert (await peer.describe(DIGEST, DEADLINE)).facts.digest == DIGEST


@pytest.mark.parametrize(
    ("error", "opens"), [(TokenUnknown(), True), (RoleNotAllowed("user", "Encode"), False)]
)
async def test_only_unknown_credentials_open_the_breaker(error: FoveaError, opens: bool) -> None:
    async with peer_of(Refusing(error)) as peer:
        with pytest.raises(EncoderUnavailable, match="credentials"):
            await peer.describe(DIGEST, DEADLINE)
        assert peer.link.breaker.open is opens


async def test_an_encoder_that_still_loads_is_not_called_until_it_serves() -> None:
    """While it imports its libraries it answers late, and each of its answers is a refusal."""
    encoder = Loading()
    async with peer_of(encoder) as peer, asyncio.timeout(30):
        with pytest.raises(FoveaError) as raised:
            await peer.describe(DIGEST, DEADLINE)
        assert raised.value.reason == "NOT_READY"
        for _ in range(3):
            encoder.probed.clear()
            await encoder.probed.wait()
            assert peer.link.breaker.open, "an encoder that only answers was called"
        encoder.loaded = True
        while peer.link.breaker.open:
            await asyncio.sleep(0.01)
        assert (await peer.describe(DIGEST, DEADLINE)).facts.digest == DIGEST


async def test_a_defect_of_an_encoder_costs_its_call_and_not_the_request() -> None:
    class Defect(Stored):
        async def DescribeImage(self, request, context):
            await abort(context, FoveaError("internal error"), "")

    first, second = Defect("a"), Stored("b")
    second.stored[WANTED.digest] = b"x"
    async with fleet_of(first, second) as fleet:
        assert (await fleet.describe(WANTED.digest, DEADLINE)).encoder == second.address


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED]
)
async def test_a_status_that_is_no_refusal_is_a_failure_of_the_encoder(code: grpc.StatusCode) -> None:
    error = RemoteError("defect at 10.0.0.1:50051")
    error.code, error.reason = code, "SOMETHING_NEW"  # type: ignore[misc]
    told = await refusal(error)
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "ENCODER_UNAVAILABLE")
    assert "defect" not in told.message


async def test_a_known_reason_with_another_code_is_not_believed() -> None:
    """The caller would retry a damaged image, or give up a busy encoder."""
    error = ImageCorrupt("PNG")
    error.code = grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[misc]
    assert (await refusal(error)).reason == "ENCODER_UNAVAILABLE"


async def test_a_refusal_of_a_newer_encoder_passes() -> None:
    error = RemoteError("the image is too blue")
    error.code, error.reason = grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_BLUE"  # type: ignore[misc]
    told = await refusal(error)
    assert (told.code, told.reason, told.message) == (error.code, error.reason, error.message)


async def test_texts_and_advice_of_a_refusal_are_bounded() -> None:
    told = await refusal(EncoderBusy("max_queue", 8, 9, retry_after_s=1e7))
    assert told.retry_after_s == LONGEST_RETRY_S
    error = ImageNotStored(DIGEST)
    error.message = "\x1b[31mgone\r\n" + "x" * 100_000
    told = await refusal(error)
    assert told.message.isprintable()
    assert len(told.message) <= TEXT_CHARS
