"""A decoder answers while the PostgreSQL of its ledger is frozen, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.postgres import PostgresServer
from decoder_svc.ledger import ledger as ledgers
from fovea.decoder.v1 import decoder_pb2_grpc, usage_pb2, usage_pb2_grpc
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, decoder, read, request

pytestmark = pytest.mark.long
PATIENCE_S = 120.0


async def test_a_decoder_with_a_frozen_database_answers_and_ends(
    checkpoint: Callable[[str], Path], server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a quota, which each request would have to reserve from."""
    monkeypatch.setattr(ledgers, "READ_S", 0.5)
    service = decoder(
        checkpoint("moe"), ["127.0.0.1:9"], ledger=True, ledger_url=server.new_database(), quota_tokens_per_day=100,
        ready_without_encoders=True,
    )  # fmt: skip
    generate = decoder_pb2_grpc.DecoderServiceStub(service.channel).Generate
    usage = usage_pb2_grpc.UsageServiceStub(service.channel)
    try:
        await service.until_ready()
        assert (await read(generate(request("?", max_new_tokens=2), timeout=CALL_S))).finished
        server.freeze()
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(8):  # the quota would not allow them
                assert (await read(generate(request("?", max_new_tokens=30), timeout=CALL_S))).finished
            call = usage.SummarizeUsage(usage_pb2.SummarizeUsageRequest(), timeout=CALL_S)
            refused = await failure(call)
            assert (refused.code, refused.reason) == ("UNAVAILABLE", "LEDGER_UNAVAILABLE")
            await service.stop()
    finally:
        server.thaw()
        await service.stop()
