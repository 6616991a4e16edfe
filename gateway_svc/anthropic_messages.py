"""The messages of Anthropic's API as a Conversation, to count their tokens."""

from __future__ import annotations

import json
from typing import Any

from fovea.contract.tools import ToolCall
from gateway_svc.conversation import Conversation, Picture, Turn
from gateway_svc.errors import not_served
from gateway_svc.fields import Fields, as_text, wrong

_MARKS = {
    "cache_control": "prefixes are cached by their content, without marks",
    "citations": "answers have no citations",
}
Part = str | Picture


def conversation_of(body: Fields) -> Conversation:
    """Takes `messages` and `system`."""
    system = body.take("system")
    turns = [] if system is None else [Turn("system", _texts(system, "system"))]
    items = body.array("messages")
    if not items:
        raise wrong("messages", "must be an array of at least one message")
    for at, item in enumerate(items):
        turns += _turns(Fields(item, f"messages[{at}]"))
    return Conversation(turns)


def _texts(value: Any, path: str) -> list[Part]:
    if isinstance(value, str):
        return [as_text(value, path)]
    if not isinstance(value, list):
        raise wrong(path, "must be a string or an array of text blocks")
    blocks = [Fields(item, f"{path}[{at}]") for at, item in enumerate(value)]
    if other := next((each for each in blocks if each.text("type") != "text"), None):
        raise not_served(other.at("type"), "only text blocks are served here")
    return [_text(each) for each in blocks]


def _turns(fields: Fields) -> list[Turn]:
    """A message; the results of tools in it are turns of their own, before its text."""
    role = fields.choice("role", "user", "assistant")
    if role is None:
        raise wrong(fields.at("role"), "is required")
    content, path = fields.take("content"), fields.at("content")
    fields.close()
    if isinstance(content, str):
        return [Turn("user" if role == "user" else "assistant", [as_text(content, path)])]
    if not isinstance(content, list) or not content:
        raise wrong(path, "must be a string or an array of blocks")
    blocks = [Fields(item, f"{path}[{at}]") for at, item in enumerate(content)]
    return _assistant(blocks) if role == "assistant" else _user(blocks)


def _user(blocks: list[Fields]) -> list[Turn]:
    results: list[Turn] = []
    parts: list[Part] = []
    for block in blocks:
        kind = block.required("type")
        if kind == "tool_result":
            results.append(_result(block))
        else:
            parts.append(_part(kind, block))
    return [*results, Turn("user", parts)] if parts else results


def _assistant(blocks: list[Fields]) -> list[Turn]:
    calls: list[ToolCall] = []
    parts: list[Part] = []
    reasoning = ""
    for block in blocks:
        kind = block.required("type")
        if kind == "tool_use":
            calls.append(_call(block))
        elif kind == "thinking":
            reasoning += block.text("thinking") or ""
            block.text("signature")
            block.close()
        else:
            parts.append(_part(kind, block))
    return [Turn("assistant", parts, tool_calls=tuple(calls), reasoning=reasoning)]


def _part(kind: str, block: Fields) -> Part:
    if kind == "text":
        return _text(block)
    if kind != "image":
        raise not_served(block.at("type"), f"{kind}: only text, images and tools are served")
    return _image(block)


def _text(block: Fields) -> str:
    text = block.text("text")
    if text is None:
        raise wrong(block.at("text"), "is required")
    block.refuse(_MARKS)
    block.close()
    return text


def _image(block: Fields) -> Picture:
    source = block.object("source")
    block.refuse(_MARKS)
    block.close()
    if source is None:
        raise wrong(block.at("source"), "is required")
    kind = source.choice("type", "base64", "url", "file")
    if kind == "base64":
        text = f"data:{source.required('media_type')};base64,{source.required('data')}"
    else:
        text = source.required("url" if kind == "url" else "file_id")
    source.close()
    return Picture(text, block.path)


def _result(block: Fields) -> Turn:
    content, path = block.take("content"), block.at("content")
    identity = block.required("tool_use_id")
    block.only("is_error", (False,), "the chat template knows no failed results: say it in the content")
    block.refuse(_MARKS)
    block.close()
    if content is None or isinstance(content, str):
        parts: list[Part] = [as_text(content or "", path)]
    elif isinstance(content, list):
        inner = [Fields(item, f"{path}[{at}]") for at, item in enumerate(content)]
        parts = [_part(each.required("type"), each) for each in inner]
    else:
        raise wrong(path, "must be a string or an array of blocks")
    return Turn("tool", parts, tool_call_id=identity)


def _call(block: Fields) -> ToolCall:
    arguments = block.take("input")
    call = ToolCall(
        block.required("id"), block.required("name"), json.dumps({} if arguments is None else arguments)
    )
    block.refuse(_MARKS)
    block.close()
    return call
