"""Invalid conversations are refused with the offending field."""

from __future__ import annotations

import pytest

from fovea.decoder.v1 import decoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House
from tests.e2e.pictures import picture

SYSTEM, USER, ASSISTANT = decoder_pb2.ROLE_SYSTEM, decoder_pb2.ROLE_USER, decoder_pb2.ROLE_ASSISTANT


def chat_message(role: decoder_pb2.Role.ValueType, *parts: str | bytes) -> decoder_pb2.Message:
    return decoder_pb2.Message(role=role, parts=[_part(part) for part in parts])


def _part(part: str | bytes) -> decoder_pb2.Part:
    if isinstance(part, str):
        return decoder_pb2.Part(text=part)
    return decoder_pb2.Part(image=decoder_pb2.Image(data=part))


WRONG = {
    "nothing": ([], "messages"),
    "no role": ([chat_message(decoder_pb2.ROLE_UNSPECIFIED, "?")], "messages[0].role"),
    "no parts": ([chat_message(USER)], "messages[0].parts"),
    "a late system": ([chat_message(USER, "?"), chat_message(SYSTEM, "!")], "messages[1].role"),
    "an answer last": ([chat_message(USER, "?"), chat_message(ASSISTANT, "!")], "messages[1].role"),
    "an image of the assistant": (
        [chat_message(USER, "?"), chat_message(ASSISTANT, picture()), chat_message(USER, "?")],
        "messages[1].parts[0].image",
    ),
    "an image of the system": ([chat_message(SYSTEM, picture()), chat_message(USER, "?")], "messages[0].parts[0].image"),
    "an image of nothing": (
        [decoder_pb2.Message(role=USER, parts=[decoder_pb2.Part(image=decoder_pb2.Image())])],
        "messages[0].parts[0].image",
    ),
    "a digest that is none": (
        [decoder_pb2.Message(
            role=USER, parts=[decoder_pb2.Part(image=decoder_pb2.Image(digest="sha256:x"))]
        )],
        "messages[0].parts[0].image.digest",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_invalid_conversations_are_refused_by_field(house: House, name: str) -> None:
    messages, field = WRONG[name]
    message = decoder_pb2.GenerateRequest(messages=messages)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert error.code == "INVALID_ARGUMENT"
    assert set(error.violations) == {field}


async def test_a_conversation_of_several_turns_and_images_is_answered(house: House) -> None:
    messages = [
        chat_message(SYSTEM, "You are a helpful assistant."),
        chat_message(USER, picture(seed=780), "What is this?"),
        chat_message(ASSISTANT, "A chart."),
        chat_message(USER, "And ", picture(seed=781), "this?"),
    ]
    sampling = decoder_pb2.Sampling(max_new_tokens=5)
    answered = await house.ask(decoder_pb2.GenerateRequest(messages=messages, sampling=sampling))
    assert answered.started.visual_tokens == 12
    assert len(answered.finished.receipt.images) == 2


async def test_an_image_in_two_places_is_marked_as_a_repeat(house: House) -> None:
    data = picture(seed=782)
    messages = [chat_message(USER, data, data, "The same?")]
    sampling = decoder_pb2.Sampling(max_new_tokens=2)
    before = await house.encodes()
    answered = await house.ask(decoder_pb2.GenerateRequest(messages=messages, sampling=sampling))
    first, second = answered.finished.receipt.images
    assert not first.HasField("repeat_of")
    assert second.HasField("repeat_of")
    assert second.repeat_of == 0
    assert await house.encodes() - before == 1
