"""The `langchain-openai` client against the gateway, as it is: answers, streams, pictures, tools, structure."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

from fovea.cli.samples import Sample
from tests.gateway.conftest import MODEL, Served

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@tool
def weather(city: Annotated[str, Field(max_length=8)]) -> str:
    """The weather of a city."""
    return f"rain in {city}"


@pytest.fixture
def chat(served: Served) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{served.url}/v1", api_key="none", model=MODEL, max_retries=0, max_tokens=256, temperature=0
    )  # type: ignore[call-arg, arg-type]


def question(sample: Sample, uri: str) -> HumanMessage:
    text = sample.questions[0].question
    return HumanMessage([{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": text}])


async def test_an_answer_with_its_usage(chat: ChatOpenAI, sample: Sample, picture_uri: str) -> None:
    answer = await chat.ainvoke([question(sample, picture_uri)])
    assert str(answer.content).strip() == sample.questions[0].answer
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] > 0


async def test_a_stream_with_its_usage(chat: ChatOpenAI, sample: Sample, picture_uri: str) -> None:
    parts = [part async for part in chat.astream([question(sample, picture_uri)], stream_usage=True)]
    assert "".join(str(part.content) for part in parts).strip() == sample.questions[0].answer
    assert any(part.usage_metadata for part in parts)


async def test_tools_are_bound_and_called(chat: ChatOpenAI) -> None:
    # `strict` closes the schema: to an open one the stand-in adds properties without end.
    bound = chat.bind_tools([weather], tool_choice="weather", strict=True)
    asked = [SystemMessage("Be brief."), HumanMessage("Rain?")]
    answer = await bound.ainvoke(asked)
    (call,) = answer.tool_calls
    assert call["name"] == "weather"
    assert set(call["args"]) == {"city"}
    result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    ended = await chat.bind_tools([weather]).ainvoke([*asked, answer, result])
    assert isinstance(ended.content, str)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output(chat: ChatOpenAI, method: Any) -> None:
    class Bar(BaseModel):
        """A bar of a chart."""

        colour: str = Field(max_length=6)
        count: int = Field(ge=0, le=9)

    structured = chat.with_structured_output(Bar, method=method, strict=True)
    assert isinstance(await structured.ainvoke("Describe a bar."), Bar)
