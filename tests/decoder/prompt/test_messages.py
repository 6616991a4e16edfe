"""Chats that cannot become a prompt are refused, and the error names the field."""

from __future__ import annotations

import grpc
import pytest

from decoder_svc.prompt import ChatMessage, ImagePart, PromptBuilder, TextPart
from decoder_svc.prompt.errors import (
    ImageNotInUserMessage,
    LastMessageNotUser,
    MessagesEmpty,
    MessageWithoutParts,
    RoleUnknown,
    SystemMessageNotFirst,
)
from fovea.contract.errors import MessagesInvalid

HI = ChatMessage("user", (TextPart("hi"),))
SYSTEM = ChatMessage("system", (TextPart("be brief"),))
PICTURE = ChatMessage("assistant", (ImagePart(0),))
ANSWER = ChatMessage("assistant", (TextPart("hello"),))


@pytest.mark.parametrize(
    ("messages", "error", "field"),
    [
        ((), MessagesEmpty, "messages"),
        ((ChatMessage("judge", (TextPart("x"),)), HI), RoleUnknown, "messages[0].role"),
        ((ChatMessage("User", (TextPart("x"),)),), RoleUnknown, "messages[0].role"),
        ((HI, SYSTEM, HI), SystemMessageNotFirst, "messages[1].role"),
        ((HI, ANSWER), LastMessageNotUser, "messages[1].role"),
        ((SYSTEM,), LastMessageNotUser, "messages[0].role"),
        ((SYSTEM, ChatMessage("user", ())), MessageWithoutParts, "messages[1].parts"),
        (
            (ChatMessage("system", (TextPart("x"), ImagePart(0))), HI),
            ImageNotInUserMessage,
            "messages[0].parts[1].image",
        ),
        (
            (HI, ChatMessage("assistant", (ImagePart(0),)), HI),
            ImageNotInUserMessage,
            "messages[1].parts[0].image",
        ),
    ],
)
def test_the_field_that_is_wrong_is_named(
    builder: PromptBuilder, messages: tuple[ChatMessage, ...], error: type[MessagesInvalid], field: str
) -> None:
    with pytest.raises(error) as caught:
        builder.draft(messages)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert caught.value.metadata["field"] == field
    assert (caught.value.code, caught.value.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MESSAGES_INVALID",
    )


def test_chats_of_several_turns_are_taken(builder: PromptBuilder) -> None:
    assert builder.draft((SYSTEM, HI, ANSWER, HI)).text_tokens > builder.draft((HI,)).text_tokens


def test_empty_text_is_text(builder: PromptBuilder) -> None:
    assert builder.draft((ChatMessage("user", (TextPart(""),)),)).text_tokens > 0
