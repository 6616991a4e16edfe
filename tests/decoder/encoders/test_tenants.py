"""The tenant of a call reaches the encoder, whatever the task that makes the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from typing import Any

import pytest

from decoder_svc.encoders.deletion import delete_everywhere
from decoder_svc.encoders.remote import RemoteEncoder
from fovea.contract.cache import Deleted
from fovea.contract.errors import FoveaError
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2
from fovea.server.identity import DEFAULT_TENANT, Identity, Role, set_identity
from tests.decoder.encoders.fakes import served
from tests.decoder.encoders.test_stream import WANTED, Streaming, good

DIGEST = WANTED.digest
Seen = list[tuple[str, str]]


class Recording(Streaming):
    """Records the tenants and the lease ids of its calls, and refuses what it does not serve."""

    def __init__(self) -> None:
        super().__init__(good())
        self.seen: Seen = []
        self.released: list[tuple[str, str]] = []

    def _note(self, method: str, context: Any) -> str:
        pairs = context.invocation_metadata()
        tenants = [str(value) for key, value in pairs if key == "fovea-tenant"]
        assert len(tenants) == 1
        self.seen.append((method, tenants[0]))
        return tenants[0]

    async def DescribeImage(self, request, context):
        self._note("describe", context)
        return await super().DescribeImage(request, context)

    async def Encode(self, request, context) -> AsyncIterator[encoder_pb2.EncodeResponse]:
        self._note("encode", context)
        async for message in super().Encode(request, context):
            yield message

    async def LeaseRows(self, request, context):
        tenant = self._note("lease", context)
        self.released += [(tenant, lease) for lease in request.release_ids]
        return encoder_pb2.LeaseRowsResponse()

    async def ReleaseRows(self, request, context):
        tenant = self._note("release", context)
        self.released += [(tenant, lease) for lease in request.lease_ids]
        return encoder_pb2.ReleaseRowsResponse()

    async def DeleteImage(self, request, context):
        self._note("delete", context)
        return encoder_pb2.DeleteImageResponse(uploads=1)

    async def PurgeTenant(self, request, context):
        self._note("purge", context)
        return encoder_pb2.PurgeTenantResponse(uploads=2)


async def rows(peer: RemoteEncoder, tenant: str) -> None:
    async for _ in peer.fetch(replace(WANTED, tenant=tenant), Deadline()).chunks():
        pass


async def lease(peer: RemoteEncoder, tenant: str) -> None:
    with suppress(FoveaError):
        await peer.lease(replace(WANTED, tenant=tenant), Deadline())


CALLS: dict[str, Callable[[RemoteEncoder, str], Awaitable[Any]]] = {
    "encode": rows,
    "lease": lease,
    "delete": lambda peer, tenant: peer.delete(tenant, DIGEST, Deadline()),
    "purge": lambda peer, tenant: peer.purge(tenant, Deadline()),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_names_its_tenant_in_a_task_of_another_context(call: str) -> None:
    """An engine pulls rows in tasks that a worker thread starts."""
    encoder = Recording()
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address)
        await asyncio.create_task(CALLS[call](peer, "acme"), context=Context())  # type: ignore[arg-type]
        await peer.close()
    assert encoder.seen[0] == (call, "acme")


async def test_other_calls_name_the_tenant_of_the_current_call() -> None:
    encoder = Recording()
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address)
        await peer.describe(DIGEST, Deadline())
        set_identity(Identity("acme", Role.USER))
        await peer.describe(DIGEST, Deadline())
        await peer.close()
    assert encoder.seen == [("describe", DEFAULT_TENANT), ("describe", "acme")]


async def test_leases_go_back_in_calls_of_their_tenant() -> None:
    encoder = Recording()
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address)
        for tenant in ("acme", "other"):
            peer.release(f"of {tenant}", tenant)
        await lease(peer, "acme")
        await peer.close()
    assert [pair for pair in encoder.released if pair[1].startswith("of")] == [
        ("acme", "of acme"),
        ("other", "of other"),
    ]


async def test_a_deletion_calls_every_encoder_and_survives_those_that_fail() -> None:
    first, second = Recording(), Recording()
    async with served([first, second]):
        peers = [RemoteEncoder(address) for address in (first.address, "127.0.0.1:1", second.address)]
        deletion = await delete_everywhere(
            peers, lambda peer: peer.delete("acme", DIGEST, Deadline.after(20))
        )
        for peer in peers:
            await peer.close()
    assert first.seen == second.seen == [("delete", "acme")]
    assert (deletion.total, deletion.unconfirmed) == (Deleted(2, 0, 0), ("127.0.0.1:1",))
