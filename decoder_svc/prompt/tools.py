"""Tools and their calls as chat templates take them, checked.

Independent of templates: the values are those that `transformers` hands to a template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from decoder_svc.prompt.errors import ToolsInvalid, ToolsTooLarge, TooManyTools
from decoder_svc.prompt.messages import tool_texts
from fovea.contract.tools import Tool, ToolCall, ToolUse

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MAX_DEPTH = 128
"""Nesting of a JSON text: recursion over a deeper value would exhaust Python's stack."""
NO_ARGUMENTS = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class ToolLimits:
    """The most tools of a request, and the most bytes of their names, descriptions and schemas together."""

    max_tools: int = 128
    max_tool_bytes: int = 128 << 10


DEFAULT_LIMITS = ToolLimits()


def check_tools(use: ToolUse, limits: ToolLimits) -> None:
    """Raises TooManyTools, ToolsTooLarge or ToolsInvalid, which names the field."""
    if len(use.tools) > limits.max_tools:
        raise TooManyTools(limits.max_tools, len(use.tools))
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in tool_texts(use.tools))
    if size > limits.max_tool_bytes:
        raise ToolsTooLarge(limits.max_tool_bytes, size)
    names = [tool.name for tool in use.tools]
    for at, tool in enumerate(use.tools):
        check_name(tool.name, f"tools[{at}].name")
        if tool.name in names[:at]:
            raise ToolsInvalid(f"tools[{at}].name", f"{tool.name} is the name of an earlier tool")
        schema_of(tool, f"tools[{at}].parameters")
    if use.forced and not use.tools:
        raise ToolsInvalid("tool_choice", "needs tools")
    if use.choice.name and use.choice.name not in names:
        raise ToolsInvalid("tool_choice.name", f"{use.choice.name[:80]} is not the name of a tool")


def check_name(name: str, field: str) -> None:
    if not NAME.fullmatch(name):
        raise ToolsInvalid(field, "must have 1 to 64 letters, digits, `_`, `-` or `.`")


def described(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools in the form of the OpenAI API."""
    return [{"type": "function", "function": _function(tool, at)} for at, tool in enumerate(tools)]


def _function(tool: Tool, at: int) -> dict[str, Any]:
    description = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **description, "parameters": schema_of(tool, f"tools[{at}].parameters")}


def schema_of(tool: Tool, field: str) -> dict[str, Any]:
    """The schema of the arguments. Raises ToolsInvalid."""
    return parse_object(tool.parameters, field) if tool.parameters else NO_ARGUMENTS


def called(calls: Sequence[ToolCall], path: str) -> list[dict[str, Any]]:
    """Earlier calls, with their arguments as an object. Raises ToolsInvalid."""
    result = []
    for at, call in enumerate(calls):
        check_name(call.name, f"{path}.tool_calls[{at}].name")
        arguments = parse_object(call.arguments, f"{path}.tool_calls[{at}].arguments")
        function = {"name": call.name, "arguments": arguments}
        result.append({"id": call.id, "type": "function", "function": function})
    return result


def parse_object(text: str, field: str) -> dict[str, Any]:
    """A JSON object that a prompt can hold. Raises ToolsInvalid."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ToolsInvalid(field, "has half of a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        raise ToolsInvalid(field, f"is not JSON: {str(error)[:80]}") from None
    if not isinstance(value, dict):
        raise ToolsInvalid(field, "must be a JSON object")
    if _depth(value) > MAX_DEPTH:
        raise ToolsInvalid(field, f"is nested more than {MAX_DEPTH} levels deep")
    return value


def _refuse_constant(name: str) -> None:
    """NaN and Infinity, which Python accepts and RFC 8259 does not."""
    raise ValueError(f"{name} is no number")


def _depth(value: Any) -> int:
    """Levels of a JSON value, counted without recursion."""
    level, depth = [value], 0
    while level:
        depth += 1
        inner = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list))
        level = [item for items in inner for item in items]
    return depth
