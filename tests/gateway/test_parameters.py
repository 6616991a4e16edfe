"""The compatibility table of docs/gateway.md: complete, and true of every row."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import completion_create_params

from gateway_svc.parameters import ONLY, REFUSED, REFUSED_OF_VLLM
from tests.gateway.conftest import MODEL
from tests.gateway.pictures import user

pytestmark = pytest.mark.timeout(300)
PAGE = Path(__file__).parents[2] / "docs/gateway.md"
VLLM_HEADING = "Parameters that users of vLLM know:"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SERVED: dict[str, Any] = {
    "add_generation_prompt": True,
    "chat_template_kwargs": {},
    "continue_final_message": False,
    "frequency_penalty": 0.5,
    "logit_bias": {"5": -1},
    "logprobs": True,
    "max_completion_tokens": 1,
    "max_tokens": 1,
    "messages": user("Hello"),
    "min_p": 0.1,
    "modalities": ["text"],
    "model": MODEL,
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0.5,
    "repetition_penalty": 1.1,
    "response_format": {"type": "text"},
    "seed": 1,
    "service_tier": "auto",
    "stop": ["x"],
    "store": False,
    "stream": False,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "tool_choice": "none",
    "tools": [TOOL],
    "top_k": -1,
    "top_logprobs": 1,
    "top_p": 0.9,
}
"""A value of each parameter that the table calls served."""
NEEDS: dict[str, dict[str, Any]] = {
    "add_generation_prompt": {"continue_final_message": False},
    "stream_options": {"stream": True},
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": [TOOL]},
    "parallel_tool_calls": {"tools": [TOOL]},
}
UNUSABLE: dict[str, Any] = {
    "add_generation_prompt": False,
    "chat_template_kwargs": {"nonsense": 1},
    "continue_final_message": "yes",
    "frequency_penalty": 3,
    "logit_bias": {"x": 1},
    "logprobs": 1,
    "max_completion_tokens": 0,
    "max_tokens": 10**9,
    "messages": [],
    "min_p": -1,
    "modalities": ["audio"],
    "model": 5,
    "n": 2,
    "parallel_tool_calls": "no",
    "presence_penalty": -3,
    "reasoning_effort": "huge",
    "repetition_penalty": 0,
    "response_format": {"type": "yaml"},
    "seed": -1,
    "service_tier": "flex",
    "stop": [1],
    "store": True,
    "stream": "yes",
    "stream_options": {"include_obfuscation": True},
    "temperature": -1,
    "tool_choice": "perhaps",
    "tools": [{"type": "custom", "custom": {"name": "f"}}],
    "top_k": -2,
    "top_logprobs": 21,
    "top_p": 0,
}
"""A value of each served parameter that is refused."""


def table(heading: str) -> dict[str, str]:
    """The rows of the table after a heading: parameter, and served, only or refused."""
    text = PAGE.read_text().split(heading, 1)[1]
    block = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert block is not None
    rows = [line.split("|") for line in block.group().splitlines()[2:]]
    return {row[1].strip().strip("`"): row[2].strip() for row in rows}


OPENAI, VLLM = table("## Parameters of chat completions"), table(VLLM_HEADING)
ROWS = OPENAI | VLLM
SERVING = sorted(name for name, how in ROWS.items() if how in ("served", "only"))


def parameters_of_the_package() -> set[str]:
    base = completion_create_params.CompletionCreateParamsBase.__annotations__
    streaming = completion_create_params.CompletionCreateParamsStreaming.__annotations__
    return {*base, *streaming}


def test_the_table_has_every_parameter_of_the_official_package() -> None:
    assert set(OPENAI) == parameters_of_the_package()
    assert list(OPENAI) == sorted(OPENAI)
    assert list(VLLM) == sorted(VLLM)
    assert set(ROWS.values()) == {"served", "only", "refused"}


def test_the_table_says_what_the_gateway_does() -> None:
    refused = {name for name, how in ROWS.items() if how == "refused"}
    assert refused == REFUSED.keys() | REFUSED_OF_VLLM.keys()
    assert {name for name, how in ROWS.items() if how == "only"} == ONLY.keys()
    assert set(SERVING) == UNUSABLE.keys() == SERVED.keys() | {"reasoning_effort"}


async def post(http: httpx2.AsyncClient, fields: dict[str, Any]) -> httpx2.Response:
    body = {"model": MODEL, "messages": user("Hello"), "max_tokens": 1} | fields
    if "max_completion_tokens" in fields:
        del body["max_tokens"]
    # As `json.dumps` escapes it: half of a surrogate pair has no bytes.
    headers = {"content-type": "application/json"}
    return await http.post("/v1/chat/completions", content=json.dumps(body), headers=headers)


@pytest.mark.parametrize("name", sorted(SERVED))
async def test_a_served_parameter_is_accepted(http: httpx2.AsyncClient, name: str) -> None:
    response = await post(http, {name: SERVED[name], **NEEDS.get(name, {})})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("name", SERVING)
async def test_a_served_parameter_is_read(http: httpx2.AsyncClient, name: str) -> None:
    """An unusable value is refused under the parameter's name, so no parameter is dropped unread."""
    needs = {} if name == "add_generation_prompt" else NEEDS.get(name, {})
    response = await post(http, {**needs, name: UNUSABLE[name]})
    error = response.json()["error"]
    assert response.status_code == (404 if name == "model" and error["code"] == "MODEL_NOT_FOUND" else 400)
    named = "max_completion_tokens" if name == "max_tokens" else name
    assert str(error["param"]).startswith(named), error


@pytest.mark.parametrize("name", sorted(REFUSED.keys() | REFUSED_OF_VLLM.keys()))
@pytest.mark.parametrize("value", [1, "x", {"a": 1}, [1], True, False])
async def test_a_refused_parameter_is_refused_by_name(
    http: httpx2.AsyncClient, name: str, value: Any
) -> None:
    response = await post(http, {name: value})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, name, "NOT_SERVED")
    assert response.headers["x-should-retry"] == "false"


async def test_a_parameter_that_is_null_counts_as_unset(http: httpx2.AsyncClient) -> None:
    response = await post(http, dict.fromkeys([*REFUSED, *REFUSED_OF_VLLM, *(ONLY)]))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"fovea": {"nonsense": 1}}, "fovea.nonsense"),
        ({"fovea": {"budget": {"max_tokens": 1}}}, "fovea.budget.max_tokens"),
        ({"fovea": {"budget": {"detail": "sharp"}}}, "fovea.budget.detail"),
        ({"fovea": {"budget": {"keep": 7}}}, "fovea.budget.keep"),
        ({"fovea": {"tier": "nowhere"}}, "fovea.tier"),
        ({"fovea": {"quote": "forged"}}, "fovea.quote"),
        ({"fovea": {"regex": "("}}, "fovea.regex"),
        ({"fovea": {"regex": "a", "choice": ["a"]}}, "fovea.choice"),
        ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages[0].name"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": []}]}, "messages[0].tool_calls"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
            "messages[0].content[0].cache_control",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"nonsense": 1}}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f", "nonsense": 1}}]}, "tools[0].function.nonsense"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice.function.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
    ],
)  # fmt: skip
async def test_a_field_inside_is_refused_by_its_path(
    http: httpx2.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    response = await post(http, fields)
    error = response.json()["error"]
    assert response.status_code == 400, error
    assert str(error["param"]).startswith(param), error


async def test_pictures_of_different_detail_are_refused(http: httpx2.AsyncClient, picture_uri: str) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": picture_uri, "detail": detail}}
        for detail in ("low", "high")
    ]
    response = await post(http, {"messages": user(*parts)})
    assert response.json()["error"]["param"] == "messages[0].content[1].image_url.detail"


async def test_a_quote_of_a_count_is_accepted(client: openai.AsyncOpenAI) -> None:
    counted = await client.responses.input_tokens.count(model=MODEL, input="Hello")
    assert counted.object == "response.input_tokens"
    answer = await client.chat.completions.create(model=MODEL, messages=user("Hello"))
    assert counted.input_tokens == answer.usage.prompt_tokens  # type: ignore[union-attr]
