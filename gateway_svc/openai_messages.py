"""The `messages` of chat completions as a Conversation. What is not served is refused by name."""

from __future__ import annotations

from typing import Any

from fovea.contract.tools import ToolCall
from gateway_svc.conversation import DETAILS, Conversation, Picture, Role, Turn, merged_system
from gateway_svc.errors import not_served
from gateway_svc.fields import Fields, as_text, wrong

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_REFUSED = {
    "name": "the chat template knows no names of speakers",
    "audio": "only text and images are served",
    "function_call": "use tool_calls",
    "refusal": "the model has no refusals apart from its text",
}
_REFUSED_PARTS = {
    "input_audio": "only text and images are served",
    "refusal": "the model has no refusals apart from its text",
}
_CACHE = {"prompt_cache_breakpoint": "prefixes are cached by their content, without marks"}


def conversation_of(body: Fields) -> Conversation:
    """Takes `messages`."""
    items = body.array("messages")
    if not items:
        raise wrong("messages", "must be an array of at least one message")
    turns = [_turn(Fields(item, f"messages[{at}]")) for at, item in enumerate(items)]
    return Conversation(merged_system(turns))


def _turn(fields: Fields) -> Turn:
    name = fields.required("role")
    if name == "function":
        raise not_served(fields.at("role"), "function is deprecated: use tool")
    if name not in ROLES:
        raise wrong(fields.at("role"), f"must be {', '.join(ROLES)}")
    role = ROLES[name]
    parts = _parts(fields, role)
    turn = Turn(
        role,
        parts,
        tool_calls=_tool_calls(fields) if role == "assistant" else (),
        tool_call_id=fields.required("tool_call_id") if role == "tool" else "",
        reasoning=_reasoning(fields) if role == "assistant" else "",
    )
    if role == "assistant":
        fields.only("annotations", ([],), "annotations belong to web search")
    fields.refuse(_REFUSED)
    fields.close()
    return turn


def _reasoning(fields: Fields) -> str:
    """The name that vLLM's clients use, or its older name."""
    given = [fields.text(name) for name in ("reasoning", "reasoning_content")]
    return next((text for text in given if text), "")


def _parts(fields: Fields, role: Role) -> list[str | Picture]:
    content = fields.take("content")
    path = fields.at("content")
    if content is None and (role == "assistant"):
        return []
    if isinstance(content, str):
        return [as_text(content, path)]
    if not isinstance(content, list) or not content:
        raise wrong(path, "must be a string or an array of parts")
    return [_part(Fields(item, f"{path}[{at}]")) for at, item in enumerate(content)]


def _part(fields: Fields) -> str | Picture:
    kind = fields.required("type")
    if kind in _REFUSED_PARTS:
        raise not_served(fields.at("type"), f"{kind}: {_REFUSED_PARTS[kind]}")
    readers: dict[str, Any] = {"text": _text, "image_url": _image_url, "file": _file}
    if kind not in readers:
        raise wrong(fields.at("type"), f"must be {', '.join(readers)}")
    part: str | Picture = readers[kind](fields)
    fields.refuse(_CACHE)
    fields.close()
    return part


def _text(fields: Fields) -> str:
    text = fields.text("text")
    if text is None:
        raise wrong(fields.at("text"), "is required")
    return text


def _image_url(fields: Fields) -> Picture:
    image = fields.object("image_url")
    if image is None:
        raise wrong(fields.at("image_url"), "is required")
    picture = Picture(image.required("url"), image.path, detail_of(image))
    image.close()
    return picture


def _file(fields: Fields) -> Picture:
    file = fields.object("file")
    if file is None:
        raise wrong(fields.at("file"), "is required")
    file.refuse(
        {"file_data": "send an image as image_url with a data URI", "filename": "files have an id only"}
    )
    picture = Picture(file.required("file_id"), file.path)
    file.close()
    return picture


def detail_of(fields: Fields) -> str:
    """The detail of an image; empty without one. Raises NotServed for `original`."""
    if (detail := fields.text("detail")) == "original":
        raise not_served(
            fields.at("detail"), "original: use high, and fovea.budget.max_pixels for more pixels"
        )
    if detail is not None and detail not in DETAILS:
        raise wrong(fields.at("detail"), f"must be {' or '.join(DETAILS)}")
    return detail or ""


def _tool_calls(fields: Fields) -> tuple[ToolCall, ...]:
    items = fields.array("tool_calls") or []
    path = fields.at("tool_calls")
    return tuple(_tool_call(Fields(item, f"{path}[{at}]")) for at, item in enumerate(items))


def _tool_call(fields: Fields) -> ToolCall:
    if fields.text("type") not in ("function", None):
        raise not_served(fields.at("type"), "only calls of functions are served")
    identity = fields.required("id")
    function = fields.object("function")
    if function is None:
        raise wrong(fields.at("function"), "is required")
    call = ToolCall(identity, function.required("name"), function.text("arguments") or "{}")
    function.close()
    fields.only("index", tuple(range(128)), "only the order of the calls counts")
    fields.close()
    return call
