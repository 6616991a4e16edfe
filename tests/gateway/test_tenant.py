"""A bearer token passes through the gateway: the decoder checks it, and the tenant follows from it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import pytest

from fovea.client import AsyncClient
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from standin import model_dir
from tests.e2e.house import decoder
from tests.gateway.conftest import MODEL, Served, gateway_of
from tests.gateway.pictures import user

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 30.0


async def test_the_tenant_is_that_of_the_token(served: Served, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(entry("secret", Identity("acme", Role.USER)))
    closed = decoder(
        model_dir(),
        [served.house.encoder_side.address],
        served_model_name=MODEL,
        tokens=tokens,
        ledger=True,
        ledger_dir=tmp_path / "ledger",
    )
    try:
        await closed.until_ready()
        async with gateway_of(served.house, decoder=closed.address) as gateway:
            await _strangers_are_refused(gateway)
            async with gateway.openai("secret") as client:
                answer = await client.chat.completions.create(
                    model=MODEL,
                    messages=user("Hello"),
                    max_tokens=1,
                    extra_headers={"x-request-id": "of-acme"},
                )
        assert answer.choices[0].finish_reason == "length"
        assert await _tenant(closed.address, "of-acme") == "acme"
    finally:
        await closed.stop()


async def _strangers_are_refused(gateway: Served) -> None:
    async with gateway.openai("wrong") as client:
        for call in (client.models.list(), client.files.retrieve(f"file-{'0' * 64}")):
            with pytest.raises(openai.AuthenticationError) as refused:
                await call
            assert refused.value.code == "TOKEN_UNKNOWN"


async def _tenant(address: str, request_id: str) -> str:
    """The tenant of a request in the ledger, once its record is written."""
    async with asyncio.timeout(PATIENCE_S), AsyncClient(address, "secret") as client:
        while not (records := await client.get_usage(request_id)):
            await asyncio.sleep(0.05)
        return records[0].tenant
