"""The official `anthropic` package counts tokens, exactly, and gets errors in the shape that it knows."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import pytest_asyncio

from fovea.cli.samples import Sample
from fovea.client import AsyncClient, Image, Message
from tests.e2e.house import CALL_S
from tests.gateway.conftest import MODEL, Served

TOOL: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest_asyncio.fixture(loop_scope="session")
async def claude(served: Served) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=served.url, api_key="none", max_retries=0, timeout=CALL_S
    ) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def direct(served: Served) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(served.house.decoder_side.address) as client:
        yield client


def block(data: bytes) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()}
    return {"type": "image", "source": source}


async def test_text_and_pictures_are_counted_exactly(
    claude: anthropic.AsyncAnthropic, direct: AsyncClient, sample: Sample
) -> None:
    data = sample.path.read_bytes()
    counted = await claude.messages.count_tokens(
        model=MODEL,
        system="Be brief.",
        messages=[{"role": "user", "content": [block(data), {"type": "text", "text": "What is this?"}]}],  # type: ignore[list-item]
    )
    messages = [Message("system", "Be brief."), Message("user", [Image(data), "What is this?"])]
    assert counted.input_tokens == (await direct.count(messages)).prompt_tokens
    answer = await direct.ask(messages)
    totals = answer.receipt.totals
    assert counted.input_tokens == totals.visual_tokens + totals.text_tokens


async def test_tools_are_part_of_the_count(claude: anthropic.AsyncAnthropic) -> None:
    messages: Any = [{"role": "user", "content": "Rain in Paris?"}]
    plain = await claude.messages.count_tokens(model=MODEL, messages=messages)
    tools = await claude.messages.count_tokens(model=MODEL, messages=messages, tools=[TOOL])  # type: ignore[list-item]
    used: Any = [
        *messages,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Paris"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "rain"}]},
    ]
    more = await claude.messages.count_tokens(model=MODEL, messages=used, tools=[TOOL])  # type: ignore[list-item]
    assert plain.input_tokens < tools.input_tokens < more.input_tokens


async def test_errors_have_the_shape_that_the_package_knows(claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await claude.messages.count_tokens(model="claude", messages=[{"role": "user", "content": "?"}])
    body: Any = unknown.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert body["error"]["code"] == "MODEL_NOT_FOUND"
    assert body["request_id"] == unknown.value.response.headers["x-request-id"]


async def test_messages_themselves_are_not_served(claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as refused:
        await claude.messages.create(model=MODEL, max_tokens=1, messages=[{"role": "user", "content": "?"}])
    assert "POST /v1/messages is not served" in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cache_control": {"type": "ephemeral"}}, "cache_control"),
        ({"speed": "fast"}, "speed"),
        ({"nonsense": 1}, "nonsense"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
    ],
)
async def test_what_is_not_served_is_refused_by_name(
    claude: anthropic.AsyncAnthropic, fields: dict[str, Any], param: str
) -> None:
    given: dict[str, Any] = {"messages": [{"role": "user", "content": "?"}]}
    with pytest.raises(anthropic.BadRequestError) as refused:
        await claude.messages.count_tokens(model=MODEL, **given, extra_body=fields)
    error: Any = refused.value.body
    assert error["error"]["param"] == param
