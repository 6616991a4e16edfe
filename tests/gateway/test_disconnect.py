"""An HTTP client that leaves: its gRPC call is cancelled, its slot is free, the ledger says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from fovea.client import AsyncClient
from tests.gateway.conftest import MODEL, Served
from tests.gateway.pictures import user

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 30.0
LONG: dict[str, Any] = {"max_tokens": 500, "fovea": {"regex": "(na ){200}"}}


async def running(served: Served) -> int:
    return int((await served.house.info()).load.running)


async def until_running(served: Served, count: int) -> None:
    """The limit only guards against hanging."""
    async with asyncio.timeout(PATIENCE_S):
        while await running(served) != count:
            await asyncio.sleep(0.005)


async def outcome(served: Served, request_id: str) -> str:
    """The outcome of a request in the ledger, once it is written."""
    async with asyncio.timeout(PATIENCE_S), AsyncClient(served.house.decoder_side.address) as client:
        while not (records := await client.get_usage(request_id)):
            await asyncio.sleep(0.05)
        return str(records[0].outcome)


@asynccontextmanager
async def posted(served: Served, request_id: str, **fields: Any) -> AsyncIterator[asyncio.StreamReader]:
    """A request over a bare connection, which is closed at the end of the block."""
    body = json.dumps({"model": MODEL, "messages": user("Sing."), **LONG, **fields}).encode()
    host, _, port = served.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {served.address}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    try:
        yield reader
    finally:
        writer.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_its_slot(served: Served, stream: bool) -> None:
    await until_running(served, 0)
    request_id = f"leaving-{stream}"
    async with posted(served, request_id, stream=stream) as reader:
        if stream:
            await reader.readuntil(b"na ")
        await until_running(served, 1)
    await until_running(served, 0)
    assert await outcome(served, request_id) == "cancelled"


async def test_a_stream_that_the_official_client_closes_is_cancelled(
    served: Served, client: openai.AsyncOpenAI
) -> None:
    request_id = "closing"
    parameters: Any = {"model": MODEL, "messages": user("Sing."), "max_tokens": 500}
    stream = await client.chat.completions.create(
        stream=True,
        extra_body={"fovea": LONG["fovea"]},
        extra_headers={"x-request-id": request_id},
        **parameters,
    )
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await until_running(served, 0)
    assert await outcome(served, request_id) == "cancelled"


async def test_a_client_that_stays_is_not_cancelled(served: Served) -> None:
    """Guards the tests above: the same request ends by itself."""
    async with posted(served, "staying", stream=True, max_tokens=8) as reader:
        await reader.readuntil(b"data: [DONE]")
    assert await outcome(served, "staying") == "length"
