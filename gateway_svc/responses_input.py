"""The input of OpenAI's Responses API as a Conversation, to count its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fovea.contract.tools import ToolCall
from gateway_svc.conversation import Conversation, Picture, Role, Turn, merged_system
from gateway_svc.errors import not_served
from gateway_svc.fields import Fields, as_text, wrong
from gateway_svc.openai_messages import detail_of

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_TEXTS = ("input_text", "output_text", "text")
_CACHE = {"prompt_cache_breakpoint": "prefixes are cached by their content, without marks"}
NO_STATE = "no conversation is stored: send all of its items as input"


def conversation_of(body: Fields) -> Conversation:
    """Takes `input` and `instructions`. Ids and states of items are those of stored responses, and unused."""
    instructions = body.text("instructions")
    turns = [Turn("system", [instructions])] if instructions else []
    given = body.take("input")
    if isinstance(given, str):
        turns.append(Turn("user", [as_text(given, "input")]))
    elif isinstance(given, list):
        items = [_item(Fields(item, f"input[{at}]")) for at, item in enumerate(given)]
        turns += _with_calls_joined(items)
    elif given is not None:
        raise wrong("input", "must be a string or an array of items")
    if not turns or turns[-1].role == "system":
        raise wrong("input", "is required")
    return Conversation(merged_system(turns))


def _with_calls_joined(turns: Sequence[Turn]) -> list[Turn]:
    """Each call is an item; in a conversation the calls of an answer are part of it."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and turn.tool_calls and joined[-1].role == "assistant":
            joined[-1] = replace(joined[-1], tool_calls=(*joined[-1].tool_calls, *turn.tool_calls))
        else:
            joined.append(turn)
    return joined


def _item(fields: Fields) -> Turn:
    kind = fields.text("type") or "message"
    readers: dict[str, Any] = {
        "message": _message,
        "function_call": _function_call,
        "function_call_output": _function_output,
    }
    if kind not in readers:
        raise not_served(fields.at("type"), f"{kind}: the items served are {', '.join(readers)}")
    for name in ("id", "status"):
        fields.text(name)
    turn: Turn = readers[kind](fields)
    fields.close()
    return turn


def _message(fields: Fields) -> Turn:
    name = fields.required("role")
    if name not in _ROLES:
        raise wrong(fields.at("role"), f"must be {', '.join(_ROLES)}")
    fields.refuse({"phase": "answers have no phases"})
    return Turn(_ROLES[name], _parts(fields, "content"))


def _function_call(fields: Fields) -> Turn:
    call = ToolCall(fields.required("call_id"), fields.required("name"), fields.text("arguments") or "{}")
    return Turn("assistant", tool_calls=(call,))


def _function_output(fields: Fields) -> Turn:
    return Turn("tool", _parts(fields, "output"), tool_call_id=fields.required("call_id"))


def _parts(fields: Fields, name: str) -> list[str | Picture]:
    content, path = fields.take(name), fields.at(name)
    if isinstance(content, str):
        return [as_text(content, path)]
    if not isinstance(content, list) or not content:
        raise wrong(path, "must be a string or an array of parts")
    return [_part(Fields(item, f"{path}[{at}]")) for at, item in enumerate(content)]


def _part(fields: Fields) -> str | Picture:
    kind = fields.required("type")
    fields.refuse(_CACHE)
    part: str | Picture
    if kind in _TEXTS:
        part = fields.text("text") or ""
        for name in ("annotations", "logprobs"):
            fields.array(name)
    elif kind == "input_image":
        part = _image(fields)
    else:
        raise not_served(fields.at("type"), f"{kind}: only text and images are served")
    fields.close()
    return part


def _image(fields: Fields) -> Picture:
    url, file_id = fields.text("image_url"), fields.text("file_id")
    if (url is None) == (file_id is None):
        raise wrong(fields.at("image_url"), "must be set, or file_id, and not both")
    return Picture(url or file_id or "", fields.path, detail_of(fields))
