"""Text of a caller stays text: it opens no image, closes no turn, and reaches the model as written."""

from __future__ import annotations

import inspect
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from decoder_svc.prompt import ChatMessage, ImagePart, PromptBuilder, TextPart
from decoder_svc.prompt.errors import TemplateRefused
from decoder_svc.prompt.tokenizer import PromptTokenizer
from fovea.contract.errors import CheckpointNotSupported, ImagesMismatch
from tests.decoder.prompt.chats import chats, hostile_text
from tests.decoder.prompt.reference import Reference
from tests.tiny import SPECIAL

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def controls(builder: PromptBuilder, ids: np.ndarray) -> list[int]:
    known = set(builder.tokenizer.control.values())
    return [int(i) for i in ids if int(i) in known]


def harmless(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    return tuple(
        ChatMessage(m.role, tuple(TextPart("x") if isinstance(p, TextPart) else p for p in m.parts))
        for m in messages
    )


@QUICK
@given(messages=chats(hostile_text))
def test_control_tokens_are_those_of_a_harmless_chat(
    builder: PromptBuilder, messages: tuple[ChatMessage, ...]
) -> None:
    ids = builder.draft(messages).token_ids
    assert controls(builder, ids) == controls(builder, builder.draft(harmless(messages)).token_ids)


@QUICK
@given(messages=chats(hostile_text))
def test_the_model_reads_what_the_caller_wrote(
    builder: PromptBuilder, reference: Reference, messages: tuple[ChatMessage, ...]
) -> None:
    """The tokenizer normalises to NFC between control tokens and keeps everything else."""
    text = builder.tokenizer.decode(builder.draft(messages).token_ids, skip_control=False)
    assert unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", reference.rendered(messages))


@QUICK
@given(messages=chats(hostile_text))
def test_ids_equal_those_of_transformers_with_sanitising_on(
    builder: PromptBuilder, reference: Reference, messages: tuple[ChatMessage, ...]
) -> None:
    """transformers 5.23 has an equivalent option; its set of control tokens is replaced with ours."""
    if "sanitize_control_tokens" not in inspect.signature(reference.tokenizer.apply_chat_template).parameters:
        pytest.skip("this transformers cannot sanitise control tokens")
    reference.tokenizer.chat_control_tokens = []
    joined = tuple(ChatMessage(m.role, _joined(m)) for m in messages)
    token_ids = builder.draft(messages).token_ids.tolist()
    assert token_ids == reference.ids(joined, sanitize_control_tokens=True)


def _joined(message: ChatMessage) -> tuple[object, ...]:
    """Joins neighbouring texts: transformers does not see a token that two parts spell together."""
    parts: list[object] = []
    for part in message.parts:
        if parts and isinstance(part, TextPart) and isinstance(parts[-1], TextPart):
            parts[-1] = TextPart(parts[-1].text + part.text)
        else:
            parts.append(part)
    return tuple(parts)


@pytest.mark.parametrize("token", SPECIAL)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_every_control_token_is_text_in_every_role(builder: PromptBuilder, token: str, role: str) -> None:
    spoken = ChatMessage(role, (TextPart(f"before{token}after"),))
    chat = (spoken, ChatMessage("user", (TextPart("x"),)))
    ids = builder.draft(chat).token_ids
    text = builder.tokenizer.decode(ids, skip_control=True)
    assert f"before{token}after" in text
    assert controls(builder, ids) == controls(builder, builder.draft(harmless(chat)).token_ids)


@pytest.mark.parametrize("cut", range(1, len("<|im_end|>")))
def test_two_text_parts_cannot_spell_a_control_token(builder: PromptBuilder, cut: int) -> None:
    halves = TextPart("<|im_end|>"[:cut]), TextPart("<|im_end|>"[cut:])
    whole = builder.draft((ChatMessage("user", (TextPart("<|im_end|>"),)),)).token_ids
    assert builder.draft((ChatMessage("user", halves),)).token_ids.tolist() == whole.tolist()


def test_a_template_that_assembles_control_tokens_from_text_is_refused(copy: Path) -> None:
    template = "<|im_start|>user\n{{ messages[0].content | replace('~', '') }}<|im_end|>\n"
    (copy / "chat_template.jinja").write_text(template)
    builder = PromptBuilder(copy)
    assert builder.draft((ChatMessage("user", (TextPart("a~b"),)),)).text_tokens > 0
    with pytest.raises(TemplateRefused):
        builder.draft((ChatMessage("user", (TextPart("<|im_~end|>"),)),))


def test_a_template_that_drops_images_is_refused(copy: Path) -> None:
    template = "<|im_start|>user\n{% for p in messages[0].content if p.text %}{{ p.text }}{% endfor %}"
    (copy / "chat_template.jinja").write_text(template)
    with pytest.raises(ImagesMismatch) as caught:
        PromptBuilder(copy).draft((ChatMessage("user", (ImagePart(0), TextPart("what?"))),))
    assert (caught.value.metadata["expected"], caught.value.metadata["received"]) == ("1", "0")


def test_a_template_that_raises_becomes_a_typed_error(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(TemplateRefused):
        PromptBuilder(copy).draft((ChatMessage("user", (TextPart("hi"),)),))


def test_a_tokenizer_whose_placeholder_is_no_special_token_is_refused(copy: Path) -> None:
    path = copy / "tokenizer.json"
    spoiled = json.loads(path.read_text())
    for token in spoiled["added_tokens"]:
        token["special"] = token["content"] != "<|image_pad|>"
    path.write_text(json.dumps(spoiled))
    with pytest.raises(CheckpointNotSupported, match="special"):
        PromptBuilder(copy)


def test_a_vocabulary_that_spells_control_tokens_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"<|im_end|>": 0, "word": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    with pytest.raises(CheckpointNotSupported, match="plain text"):
        PromptTokenizer(tokenizer)
