"""Token ids equal those of transformers unless the text spells a control token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from decoder_svc.prompt import ChatMessage, ImagePart, PromptBuilder, TextPart
from decoder_svc.prompt.errors import TextTooLong
from decoder_svc.prompt.template import ChatTemplate
from decoder_svc.prompt.tokenizer import PromptTokenizer
from fovea import architecture
from fovea.contract.errors import CheckpointNotSupported
from tests.decoder.prompt.chats import chats, hostile_text, joined_texts, ordinary_text, spells_control
from tests.decoder.prompt.reference import Reference

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ASK = (ChatMessage("user", (ImagePart(0), TextPart("What is it?"))),)


@QUICK
@given(messages=chats(ordinary_text))
def test_ids_equal_those_of_transformers(
    builder: PromptBuilder, reference: Reference, messages: tuple[ChatMessage, ...]
) -> None:
    assume(not any(map(spells_control, joined_texts(messages))))
    assert builder.draft(messages).token_ids.tolist() == reference.ids(messages)


def test_words_merge_across_the_border_of_template_and_text(builder: PromptBuilder) -> None:
    """A line feed merges with a preceding `user\\n`, so text is encoded together with the template."""
    apart = len(builder.tokenizer.encode_text("user\n")) + len(builder.tokenizer.encode_text("\n\nHi"))
    together = len(builder.tokenizer.encode_text("user\n\n\nHi"))
    plain = builder.draft((ChatMessage("user", (TextPart("Hi"),)),)).text_tokens
    fed = builder.draft((ChatMessage("user", (TextPart("\n\nHi"),)),)).text_tokens
    assert fed - plain == together - len(builder.tokenizer.encode_text("user\nHi"))
    assert together <= apart


@pytest.mark.parametrize("place", ["chat_template.json", "tokenizer_config.json", "named"])
def test_the_chat_template_is_read_from_every_usual_file(copy: Path, place: str) -> None:
    expected = PromptBuilder(copy).draft(ASK).token_ids
    source = (copy / "chat_template.jinja").read_text(encoding="utf-8")
    (copy / "chat_template.jinja").unlink()
    if place == "chat_template.json":
        (copy / place).write_text(json.dumps({"chat_template": source}))
    else:
        entry = source if place != "named" else [{"name": "default", "template": source}]
        config = json.loads((copy / "tokenizer_config.json").read_text())
        (copy / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": entry}))
    assert PromptBuilder(copy).draft(ASK).token_ids.tolist() == expected.tolist()


def test_templates_see_what_transformers_gives_them(copy: Path) -> None:
    """A template with filters, globals, special token strings and white-space rules."""
    source = (
        "{%- for message in messages %}\n"
        "    {%- if loop.index > 1 %}{% break %}{% endif %}\n"
        "    {{ eos_token }}|{{ pad_token }}|{{ message | tojson }}|{{ {'a': '<é>'} | tojson(indent=1) }}\n"
        "    {% if message.content is string %}\n"
        "text\n"
        "    {% endif %}\n"
        "{%- endfor %}\n"
        "{{- strftime_now('%%') ~ (tools is none) ~ (documents is none) ~ add_generation_prompt }}"
    )
    (copy / "chat_template.jinja").write_text(source)
    chat = [{"role": "user", "content": "<&>'ü"}, {"role": "user", "content": "2"}]
    rendered = Reference(copy).tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert ChatTemplate.load(copy).render(chat) == rendered


def test_special_ids_come_from_the_config_files(copy: Path) -> None:
    config, tokenizer = architecture.load(copy), PromptTokenizer.load(copy)
    assert PromptBuilder(copy).image_token_id == tokenizer.control["<|image_pad|>"]
    assert (config.vision_start_token_id, config.vision_end_token_id) == (
        tokenizer.control["<|vision_start|>"],
        tokenizer.control["<|vision_end|>"],
    )
    ends = (tokenizer.control["<|im_end|>"], tokenizer.control["<|endoftext|>"])
    assert architecture.eos_ids(copy, config) == ends
    (copy / "generation_config.json").unlink()
    assert architecture.eos_ids(copy, config) == ends[:1]


@QUICK
@given(text=hostile_text)
def test_no_text_has_fewer_tokens_than_its_lower_bound(builder: PromptBuilder, text: str) -> None:
    assert builder.tokenizer.least_tokens(text) <= len(builder.tokenizer.encode_text(text))


def test_an_endless_text_is_refused_before_it_is_tokenised(tiny_folder: Path) -> None:
    builder = PromptBuilder(tiny_folder, max_context=64)
    with pytest.raises(TextTooLong) as caught:
        builder.draft((ChatMessage("user", (TextPart("word " * 10_000),)),))
    assert caught.value.metadata["limit"] == "64"
    assert int(caught.value.metadata["prompt_tokens"]) > 64
    assert builder.draft(ASK).text_tokens > 0


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "config.json"])
def test_a_folder_without_its_files_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointNotSupported):
        PromptBuilder(copy)


def test_a_template_that_does_not_parse_is_refused(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{% for message in messages %}")
    with pytest.raises(CheckpointNotSupported, match="parse"):
        PromptBuilder(copy)


@pytest.mark.parametrize("change", [{"model_type": "llama"}, {"image_token_id": None}, {"vision_config": {}}])
def test_a_config_that_is_no_qwen3_vl_is_refused(copy: Path, change: dict[str, object]) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointNotSupported):
        PromptBuilder(copy)
