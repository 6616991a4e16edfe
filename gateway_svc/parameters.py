"""The parameters of chat completions as options of the client. `docs/gateway.md` lists every one of them."""

from __future__ import annotations

import json
from typing import Any

from fovea.client import Format, Sampling
from gateway_svc.extension import Extension
from gateway_svc.fields import Fields, as_number, as_text, as_texts, wrong
from gateway_svc.tools import choice_of, schema_of, tools_of

REFUSED = {
    "audio": "only text is answered",
    "function_call": "deprecated: use tool_choice",
    "functions": "deprecated: use tools",
    "metadata": "nothing is stored with it; fovea.parent_request_id is recorded in the ledger",
    "moderation": "no moderation is served",
    "prediction": "there is no speculative decoding of predicted outputs",
    "prompt_cache_key": "prefixes are cached by their content, without keys",
    "prompt_cache_options": "prefixes are cached by their content",
    "prompt_cache_retention": "the cache keeps what is used most recently",
    "safety_identifier": "usage is kept by tenant, which the token names",
    "user": "usage is kept by tenant, which the token names",
    "verbosity": "the model has no such control: say it in the prompt",
    "web_search_options": "there is no web search",
}
"""Parameters of the OpenAI API that are refused, and why."""

REFUSED_OF_VLLM = {
    "best_of": "one answer is sampled",
    "echo": "the prompt is not repeated",
    "ignore_eos": "an answer ends where the model ends it",
    "length_penalty": "there is no beam search",
    "min_tokens": "an answer ends where the model ends it",
    "prompt_logprobs": "only tokens of the answer have log-probabilities",
    "skip_special_tokens": "special tokens are never part of the text",
    "stop_token_ids": "use stop, with strings",
    "structured_outputs": "use response_format, fovea.regex or fovea.choice",
    "use_beam_search": "one answer is sampled",
}
"""Parameters that users of vLLM know, and why they are refused."""

ONLY: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "one answer is sampled: send the request n times, its prefix is cached"),
    "modalities": ((["text"],), "only text is answered"),
    "service_tier": (
        ("auto", "default"),
        "there is a single service tier; fovea.tier names a tier of models",
    ),
    "store": ((False,), "no answers are stored"),
}
"""Parameters of which only the values are served that ask for what happens anyway."""

THINKING = {
    "none": False,
    "minimal": True,
    "low": True,
    "medium": True,
    "high": True,
    "xhigh": True,
    "max": True,
}
ANY_OBJECT = json.dumps({"type": "object"})


def options_of(body: Fields) -> dict[str, Any]:
    """Takes every parameter but those of the conversation, the model and the stream."""
    body.refuse(REFUSED)
    body.refuse(REFUSED_OF_VLLM)
    for name, (accepted, why) in ONLY.items():
        body.only(name, accepted, why)
    extension = Extension.of(body)
    logprobs, top = _logprobs(body)
    options: dict[str, Any] = {
        "response_format": _format(body, extension),
        "sampling": _sampling(body, extension.checkpoint_defaults),
        "logprobs": logprobs,
        "top_logprobs": top,
        **tool_options(body),
        **extension.options,
    }
    if _continues(body):
        options["continue_final_message"] = True
    if (thinking := _thinking(body)) is not None:
        options["thinking"] = thinking
    return options


def _sampling(body: Fields, checkpoint_defaults: bool) -> Sampling:
    return Sampling.of(
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=_top_k(body),
        min_p=body.number("min_p"),
        repetition_penalty=body.number("repetition_penalty"),
        presence_penalty=body.number("presence_penalty"),
        frequency_penalty=body.number("frequency_penalty"),
        logit_bias=_logit_bias(body),
        seed=body.integer("seed"),
        stop=_stop(body),
        max_new_tokens=_max_tokens(body),
        checkpoint_defaults=checkpoint_defaults or None,
    )


def _top_k(body: Fields) -> int | None:
    """-1 is vLLM's way to sample from all tokens."""
    value = body.integer("top_k", least=-1)
    return 0 if value == -1 else value


def _logit_bias(body: Fields) -> dict[int, float] | None:
    value = body.take("logit_bias")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise wrong("logit_bias", "must be an object of token ids and numbers")
    if bad := next(
        (name for name in value if not (name.isascii() and name.isdigit() and len(name) < 10)), None
    ):
        raise wrong("logit_bias", f"has {bad[:80]!r}, which is no token id")
    return {int(name): as_number(bias, f"logit_bias.{name}") for name, bias in value.items()}


def _stop(body: Fields) -> tuple[str, ...] | None:
    value = body.take("stop")
    if value is None:
        return None
    if isinstance(value, str):
        return (as_text(value, "stop"),)
    if not isinstance(value, list):
        raise wrong("stop", "must be a string or an array of strings")
    return as_texts(value, "stop")


def _max_tokens(body: Fields) -> int | None:
    """The newer name, or its older name, which means the same here."""
    newer, older = body.integer("max_completion_tokens", least=1), body.integer("max_tokens", least=1)
    if newer is not None and older is not None and newer != older:
        raise wrong("max_tokens", f"is {older}, and max_completion_tokens is {newer}: set one of them")
    return older if newer is None else newer


def _logprobs(body: Fields) -> tuple[bool, int]:
    wanted, top = body.flag("logprobs") or False, body.integer("top_logprobs")
    if top is not None and not wanted:
        raise wrong("top_logprobs", "needs logprobs true")
    return wanted, top or 0


def _continues(body: Fields) -> bool:
    """Whether the answer continues the last message, the assistant's. vLLM's users say so with two fields."""
    continues = body.flag("continue_final_message") or False
    prompted = body.flag("add_generation_prompt")
    if prompted is not None and prompted is continues:
        raise wrong(
            "add_generation_prompt", f"must be {str(not continues).lower()} with continue_final_message"
        )
    return continues


def _format(body: Fields, extension: Extension) -> Format | None:
    fields = body.object("response_format")
    chosen = None if fields is None else _format_of(fields)
    if chosen is not None and extension.format is not None:
        raise wrong("response_format", "excludes fovea.regex and fovea.choice")
    return chosen or extension.format


def _format_of(fields: Fields) -> Format | None:
    kind = fields.choice("type", "text", "json_object", "json_schema")
    if kind is None:
        raise wrong(fields.at("type"), "is required")
    schema = fields.object("json_schema") if kind == "json_schema" else None
    if kind == "json_schema" and schema is None:
        raise wrong(fields.at("json_schema"), "is required")
    fields.close()
    if schema is not None:
        return _schema_format(schema)
    return Format.json_schema(ANY_OBJECT) if kind == "json_object" else None


def _schema_format(fields: Fields) -> Format:
    """The schema is enforced, with `strict` and without. Name and description become its annotations."""
    fields.flag("strict")
    notes = {"title": fields.text("name"), "description": fields.text("description")}
    text = schema_of(fields, "schema")
    if not text:
        raise wrong(fields.at("schema"), "is required")
    fields.close()
    given = {name: note for name, note in notes.items() if note}
    return Format.json_schema(json.dumps({**given, **json.loads(text)}))


def _thinking(body: Fields) -> bool | None:
    """`reasoning_effort` switches reasoning on or off; vLLM's users say so in chat_template_kwargs."""
    effort = body.choice("reasoning_effort", *THINKING)
    template = body.object("chat_template_kwargs")
    enabled = None
    if template is not None:
        enabled = template.flag("enable_thinking")
        template.close()
    wanted = None if effort is None else THINKING[effort]
    if wanted is not None and enabled is not None and wanted is not enabled:
        raise wrong("chat_template_kwargs.enable_thinking", f"contradicts reasoning_effort {effort}")
    return enabled if wanted is None else wanted


def tool_options(body: Fields) -> dict[str, Any]:
    """Takes `tools`, `tool_choice` and `parallel_tool_calls`. Returns what is set."""
    given = {
        "tools": tools_of(body),
        "tool_choice": choice_of(body),
        "parallel_tool_calls": body.flag("parallel_tool_calls"),
    }
    return {name: value for name, value in given.items() if value is not None}
