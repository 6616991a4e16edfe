"""Quotas on a real decoder: refused before anything is spent, settled however a request ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fovea.client import AsyncClient, Format, Sampling, Size, Text, errors
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from tests.e2e.house import CALL_S, House, Service, decoder, request
from tests.e2e.pictures import picture

LIMIT = 400
PATIENCE_S = 60.0
LONG = Sampling(max_new_tokens=300, response_format=Format.regex("[ab]{1000}"))


@pytest_asyncio.fixture(loop_scope="session")
async def limited(house: House, checkpoint: Callable[[str], Path], tmp_path: Path) -> AsyncIterator[Service]:
    """A decoder whose tenants have 400 tokens a day."""
    changes = {"ledger": True, "ledger_dir": tmp_path, "quota_tokens_per_day": LIMIT}
    service = decoder(checkpoint("moe"), [house.encoder_side.address], **changes)
    try:
        await service.until_ready()
        yield service
    finally:
        await service.stop()


async def test_a_request_above_the_quota_is_refused_with_the_figures_before_anything_is_spent(
    house: House, limited: Service
) -> None:
    stub = decoder_pb2_grpc.DecoderServiceStub(limited.channel)
    before = await house.encodes()
    message = request("?", [picture(seed=9200)], max_new_tokens=LIMIT)
    with pytest.raises(Exception, match="400 tokens") as refused:
        await stub.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    details = {detail.TypeName(): detail for detail in rpc_status.from_call(refused.value).details}
    (violation,) = _unpacked(details["google.rpc.QuotaFailure"], error_details_pb2.QuotaFailure()).violations
    assert violation.subject == "tenant:default"
    info = _unpacked(details["google.rpc.ErrorInfo"], error_details_pb2.ErrorInfo())
    assert (info.reason, info.metadata["limit"], info.metadata["unit"]) == (
        "QUOTA_EXCEEDED",
        "400.0",
        "tokens",
    )
    assert info.metadata["reset_time"].endswith("T00:00:00Z")
    assert await house.encodes() == before


def _unpacked(packed, message):
    assert packed.Unpack(message)
    return message


async def test_what_was_not_spent_is_given_back_however_the_request_ends(limited: Service) -> None:
    """A complete answer and a cancelled one; both reserve 300 of 400 tokens and spend far less."""
    async with AsyncClient(limited.address) as client:
        await client.ask("?", sampling=Sampling(max_new_tokens=2))

        async def leave() -> None:
            async for event in client.stream("?", sampling=LONG):
                if isinstance(event, Text):
                    return

        async with asyncio.timeout(PATIENCE_S):
            for _ in range(3):
                while True:
                    try:
                        await leave()
                        break
                    except errors.QuotaExceeded:  # the call before is not settled yet
                        await asyncio.sleep(0.05)
        totals = [record.receipt.totals async for record in client.list_usage()]
        assert all(each.output_tokens < 300 for each in totals)


async def test_a_quote_holds_for_its_request_and_covers_what_it_costs(house: House) -> None:
    async with AsyncClient(house.decoder_side.address) as client:
        image = picture(seed=9201)
        count = await client.count("?", [image], sampling=Sampling(max_new_tokens=5))
        assert count.quote is not None
        assert count.quote.max_tokens == count.prompt_tokens + 5
        answer = await client.ask("?", [image], sampling=Sampling(max_new_tokens=5), quote=count.quote)
        totals = answer.receipt.totals
        assert totals.text_tokens + totals.visual_tokens + totals.output_tokens <= count.quote.max_tokens
        with pytest.raises(errors.QuoteInvalid):
            await client.ask("Another?", [image], sampling=Sampling(max_new_tokens=5), quote=count.quote)
        assert (await client.count("?", [Size(64, 64)])).quote is None
