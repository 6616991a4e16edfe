"""The official `openai` package against the gateway, as it is: what its users rely on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, Field

from fovea.cli.samples import Sample
from tests.e2e.pictures import picture
from tests.gateway.conftest import MODEL, Served, gateway_of
from tests.gateway.pictures import data_uri, image, user

pytestmark = pytest.mark.timeout(300)
LONG = {"fovea": {"regex": "(na ){200}"}}
"""An answer that takes its time: the format allows no shorter one."""
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 8},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
FORCED = {"type": "function", "function": {"name": "weather"}}


async def ask(client: AsyncOpenAI, messages: list[Any], **parameters: Any) -> ChatCompletion:
    given = {"model": MODEL, "max_tokens": 16} | parameters
    return await client.chat.completions.create(messages=messages, **given)


async def stream(client: AsyncOpenAI, messages: list[Any], **parameters: Any) -> list[ChatCompletionChunk]:
    given = {"model": MODEL, "max_tokens": 16} | parameters
    chunks = await client.chat.completions.create(messages=messages, stream=True, **given)
    return [chunk async for chunk in chunks]


def text_of(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


def joined(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_models_are_listed_and_retrieved(client: AsyncOpenAI) -> None:
    (model,) = (await client.models.list()).data
    assert model.id == MODEL
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4o")


async def test_an_answer_about_a_picture_is_right(
    client: AsyncOpenAI, sample: Sample, picture_uri: str
) -> None:
    for asked in sample.questions:
        answer = await ask(client, user(image(picture_uri), asked.question))
        assert text_of(answer).strip() == asked.answer
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].message.role == "assistant"
        assert answer.object == "chat.completion"


async def test_a_stream_has_the_text_of_the_whole_answer(client: AsyncOpenAI, picture_uri: str) -> None:
    messages = user(image(picture_uri), "Read the title.")
    whole, chunks = await ask(client, messages), await stream(client, messages)
    assert joined(chunks) == text_of(whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_the_last_chunk_has_the_usage_if_asked_for(client: AsyncOpenAI, picture_uri: str) -> None:
    messages = user(image(picture_uri), "Read the title.")
    *_, last = await stream(client, messages, stream_options={"include_usage": True})
    whole = await ask(client, messages)
    assert last.choices == []
    assert last.usage is not None
    assert whole.usage is not None
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert getattr(last.usage, name) == getattr(whole.usage, name)


async def test_usage_is_that_of_the_receipt(client: AsyncOpenAI, picture_uri: str) -> None:
    answer = await ask(client, user(image(picture_uri), "Read the title."))
    receipt = answer.model_extra["fovea"]["receipt"]  # type: ignore[index]
    totals, usage = receipt["totals"], answer.usage
    assert usage is not None
    assert usage.completion_tokens == totals["output_tokens"]
    assert usage.prompt_tokens == totals["visual_tokens"] + totals["text_tokens"]
    assert usage.prompt_tokens_details.image_tokens == totals["visual_tokens"] > 0  # type: ignore[union-attr]
    assert receipt["images"][0]["tokens"] == totals["visual_tokens"]


async def test_a_stream_ends_with_the_receipt(client: AsyncOpenAI) -> None:
    chunks = await stream(client, user("Hello"))
    assert chunks[-1].model_extra["fovea"]["receipt"]["totals"]["output_tokens"] > 0  # type: ignore[index]


async def test_a_stop_string_ends_the_answer_before_it(client: AsyncOpenAI) -> None:
    answer = await ask(client, user("Hello"), stop="e", extra_body={"fovea": {"regex": "abcdefgh"}})
    assert text_of(answer) == "abcd"
    assert answer.choices[0].finish_reason == "stop"


async def test_a_seed_repeats_a_sampled_answer(client: AsyncOpenAI) -> None:
    sampled = {"temperature": 1.5, "extra_body": {"fovea": {"regex": "[a-z]{12}"}}}
    first, same, other = [
        text_of(await ask(client, user("Say something."), seed=seed, **sampled)) for seed in (7, 7, 8)
    ]
    assert first == same != other


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_is_cut_at_its_limit(client: AsyncOpenAI, name: str) -> None:
    given: dict[str, Any] = {"model": MODEL, name: 3, "extra_body": LONG}
    answer = await client.chat.completions.create(messages=user("Hello"), **given)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_log_probabilities_and_alternatives(client: AsyncOpenAI, picture_uri: str) -> None:
    answer = await ask(client, user(image(picture_uri), "Read the title."), logprobs=True, top_logprobs=3)
    assert answer.choices[0].logprobs is not None
    content = answer.choices[0].logprobs.content
    assert content
    assert len(content) == answer.usage.completion_tokens  # type: ignore[union-attr]
    text = b"".join(bytes(token.bytes or ()) for token in content).decode()
    assert text == text_of(answer)
    for token in content:
        assert len(token.top_logprobs) == 3
        assert token.logprob == token.top_logprobs[0].logprob  # the answer is greedy
        assert token.logprob <= 0


async def test_log_probabilities_of_a_stream_are_those_of_the_answer(client: AsyncOpenAI) -> None:
    whole = await ask(client, user("Hello"), logprobs=True)
    chunks = await stream(client, user("Hello"), logprobs=True)
    parts = [chunk.choices[0].logprobs.content or [] for chunk in chunks if chunk.choices[0].logprobs]
    tokens = [token.token for part in parts for token in part]
    assert tokens == [token.token for token in whole.choices[0].logprobs.content]  # type: ignore[union-attr]


async def test_a_bias_forbids_a_token(client: AsyncOpenAI, served: Served, picture_uri: str) -> None:
    from fovea.client import AsyncClient

    messages = user(image(picture_uri), "Read the title.")
    free = text_of(await ask(client, messages))
    async with AsyncClient(served.house.decoder_side.address) as direct:
        ids = (await direct.ask("Read the title.", [_bytes(picture_uri)])).token_ids
    biased = text_of(await ask(client, messages, logit_bias={str(ids[0]): -100}))
    assert biased != free


def _bytes(uri: str) -> bytes:
    import base64

    return base64.b64decode(uri.partition(",")[2])


async def test_penalties_change_an_answer(client: AsyncOpenAI) -> None:
    """Without a penalty the model repeats itself in a format that lets it."""
    letters = {"fovea": {"regex": "[a-d]{12}"}}
    plain = text_of(await ask(client, user("Hello"), max_tokens=32, extra_body=letters))
    strict = {"presence_penalty": 2.0, "frequency_penalty": 2.0}
    varied = text_of(await ask(client, user("Hello"), max_tokens=32, extra_body=letters, **strict))
    assert varied != plain


async def test_an_answer_matches_its_json_schema(client: AsyncOpenAI) -> None:
    class Bar(BaseModel):
        colour: str = Field(max_length=6)
        count: int = Field(ge=0, le=9)

    completion = await client.chat.completions.parse(
        model=MODEL, messages=user("Describe a bar."), response_format=Bar, max_tokens=64
    )
    assert isinstance(completion.choices[0].message.parsed, Bar)


async def test_json_mode_gives_an_object(client: AsyncOpenAI) -> None:
    answer = await ask(client, user("JSON."), response_format={"type": "json_object"}, max_tokens=256)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text_of(answer)), dict)
    else:  # cut, but the beginning of an object
        assert text_of(answer).startswith("{")


async def test_a_forced_call_has_valid_arguments(client: AsyncOpenAI) -> None:
    answer = await ask(client, user("Paris?"), tools=[WEATHER], tool_choice=FORCED, max_tokens=128)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "weather"
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("celsius", "fahrenheit")


async def test_a_call_streams_in_parts(client: AsyncOpenAI) -> None:
    chunks = await stream(
        client,
        user("Paris?"),
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=128,
    )
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()]
    assert [part.id for part in parts if part.id] == [parts[0].id]
    assert parts[0].function.name == "weather"  # type: ignore[union-attr]
    assert {part.index for part in parts} == {0}
    assert json.loads("".join(part.function.arguments or "" for part in parts))  # type: ignore[union-attr]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_result_of_a_call_is_answered(client: AsyncOpenAI) -> None:
    """The assistant's message goes back as the package dumps it."""
    messages = user("Paris?")
    first = await ask(client, messages, tools=[WEATHER], tool_choice="required", max_tokens=128)
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}  # type: ignore[index]
    answer = await ask(client, [*messages, message.model_dump(), result], tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert not answer.choices[0].message.tool_calls


async def test_instructions_and_earlier_turns_are_part_of_the_prompt(client: AsyncOpenAI) -> None:
    short = await ask(client, user("And now?"))
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be right."}]},
        *user("Hello"),
        {"role": "assistant", "content": "Hello."},
        *user("And now?"),
    ]
    long = await ask(client, turns)
    assert long.usage.prompt_tokens > short.usage.prompt_tokens + 10  # type: ignore[union-attr]


async def test_a_file_is_uploaded_used_and_deleted(client: AsyncOpenAI, sample: Sample) -> None:
    data = sample.path.read_bytes()
    file = await client.files.create(file=("chart.png", data), purpose="vision")
    assert (file.object, file.filename, file.bytes) == ("file", "chart.png", len(data))
    asked = sample.questions[0]
    for part in (image(file.id), {"type": "file", "file": {"file_id": file.id}}):
        assert text_of(await ask(client, user(part, asked.question))).strip() == asked.answer
    assert (await client.files.retrieve(file.id)).bytes == len(data)
    assert (await client.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        await ask(client, user(image(file.id), asked.question))
    assert gone.value.code == "IMAGE_NOT_STORED"


async def test_detail_decides_what_a_picture_costs(client: AsyncOpenAI) -> None:
    uri = data_uri(picture(768, 768, seed=3))
    low, high = [
        (await ask(client, user(image(uri, detail=detail), "?"), max_tokens=1)).usage
        for detail in ("low", "high")
    ]
    assert low.prompt_tokens < high.prompt_tokens  # type: ignore[union-attr]


async def test_a_budget_bounds_what_a_picture_costs(client: AsyncOpenAI) -> None:
    uri = data_uri(picture(768, 768, seed=4))
    budget = {"fovea": {"budget": {"max_visual_tokens": 100}}}
    answer = await ask(client, user(image(uri), "?"), max_tokens=1, extra_body=budget)
    totals = answer.model_extra["fovea"]["receipt"]["totals"]  # type: ignore[index]
    assert 0 < totals["visual_tokens"] <= 100


async def test_several_pictures_of_a_message_are_read(client: AsyncOpenAI, picture_uri: str) -> None:
    other = data_uri(picture(96, 64, seed=5))
    answer = await ask(client, user(image(picture_uri), image(other), "Read the title."))
    assert len(answer.model_extra["fovea"]["receipt"]["images"]) == 2  # type: ignore[index]


async def test_an_answer_continues_the_last_message(client: AsyncOpenAI) -> None:
    turns = [*user("Spell."), {"role": "assistant", "content": "ab"}]
    extra = {"continue_final_message": True, "add_generation_prompt": False, "fovea": {"regex": "cd"}}
    assert text_of(await ask(client, turns, extra_body=extra)) == "cd"


async def test_every_answer_names_its_request_and_the_notice_of_the_model(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=user("Hello"), max_tokens=1, extra_headers={"x-request-id": "mine-1"}
    )
    answer = raw.parse()
    assert raw.headers["x-request-id"] == "mine-1"
    assert answer.id == "chatcmpl-mine-1"
    assert "pictures like its own" in raw.headers["x-fovea-model-notice"]
    assert answer.model_extra["fovea"]["request_id"] == "mine-1"  # type: ignore[index]


async def test_a_field_that_is_not_served_is_refused_by_name(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, user("Hello"), extra_body={"tempreature": 1})
    assert (refused.value.param, refused.value.code) == ("tempreature", "NOT_SERVED")
    assert refused.value.type == "invalid_request_error"


async def test_a_value_that_is_not_valid_is_refused_by_name(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, user("Hello"), top_p=7)
    assert (refused.value.param, refused.value.code) == ("top_p", "INVALID_ARGUMENT")


async def test_a_model_that_is_not_served_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await ask(client, user("Hello"), model="gpt-4o")
    assert (unknown.value.param, unknown.value.code) == ("model", "MODEL_NOT_FOUND")


async def test_a_prompt_that_does_not_fit_is_refused_before_a_stream_begins(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await stream(client, user("word " * 20_000))
    assert refused.value.code == "CONTEXT_TOO_LONG"


async def test_a_broken_picture_is_refused_with_its_place(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, user("Look:", image(data_uri(b"no picture"))))
    assert "messages[0].content[1].image_url" in str(refused.value)


async def test_an_image_by_url_is_refused_with_the_reason(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, user(image("https://example.com/a.png"), "?"))
    assert refused.value.code == "IMAGE_URL_REFUSED"
    assert "image_hosts" in str(refused.value)


async def test_a_deadline_of_the_caller_ends_the_request(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as late:
        await ask(
            client,
            user("Hello"),
            max_tokens=500,
            extra_body=LONG,
            extra_headers={"x-fovea-timeout-s": "0.05"},
        )
    # A refusal of what cannot be answered in time is as good.
    assert late.value.status_code in (504, 429)


async def test_streams_run_side_by_side(client: AsyncOpenAI, picture_uri: str) -> None:
    messages = user(image(picture_uri), "Read the title.")
    alone = joined(await stream(client, messages))
    together = await asyncio.gather(*(stream(client, messages) for _ in range(8)))
    assert {joined(chunks) for chunks in together} == {alone}


async def test_a_full_gateway_says_when_to_come_back(served: Served) -> None:
    async with gateway_of(served.house, max_requests=1) as narrow, narrow.openai() as client:
        running = await client.chat.completions.create(
            model=MODEL, messages=user("Hello"), stream=True, max_tokens=400, extra_body=LONG
        )
        with pytest.raises(openai.RateLimitError) as full:
            await ask(client, user("Hello"))
        assert full.value.code == "GATEWAY_BUSY"
        assert int(full.value.response.headers["retry-after"]) >= 1
        await running.close()


async def test_the_client_retries_what_may_succeed(served: Served) -> None:
    """The package obeys the gateway's headers: a wrong request is sent once."""
    async with served.openai(max_retries=3) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(client, user("Hello"), n=2)
    assert refused.value.response.headers["x-should-retry"] == "false"


async def test_the_blocking_client_works_too(served: Served, picture_uri: str) -> None:
    def run() -> str:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            chunks = client.chat.completions.create(
                model=MODEL, messages=user(image(picture_uri), "Read the title."), stream=True, max_tokens=16
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert (await asyncio.to_thread(run)).strip()


async def test_too_many_pictures_are_refused_before_any_is_fetched(
    served: Served, client: AsyncOpenAI
) -> None:
    """Otherwise a short request would make the gateway load thousands of files. No URL is fetched here."""
    most = (await served.house.info()).limits.max_images
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, user(*[image("http://images.example/a.png")] * (most + 1)))
    assert refused.value.code == "TOO_MANY_IMAGES"
