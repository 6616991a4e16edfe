"""Tools and the choice among them, from the shapes of three APIs: chat completions, responses, Anthropic."""

from __future__ import annotations

import json
from typing import Any

from fovea.contract.tools import Tool, ToolChoice, ToolMode
from gateway_svc.errors import not_served
from gateway_svc.fields import Fields, wrong

ONLY_FUNCTIONS = "only tools of type function are served"
MODES = tuple(ToolMode)


def tools_of(body: Fields) -> list[Tool] | None:
    """Takes `tools`, each a function: nested as in chat completions, or flat as in responses."""
    items = body.array("tools")
    return items and [_function(Fields(item, f"tools[{at}]")) for at, item in enumerate(items)]


def _function(fields: Fields) -> Tool:
    kind = fields.required("type")
    if kind != "function":
        raise not_served(fields.at("type"), f"{kind}: {ONLY_FUNCTIONS}")
    function = fields.object("function") or fields
    tool = _tool(function, "parameters")
    if function is not fields:
        function.close()
    fields.close()
    return tool


def _tool(fields: Fields, schema: str) -> Tool:
    return Tool(
        name=fields.required("name"),
        description=fields.text("description") or "",
        parameters=schema_of(fields, schema),
        strict=fields.flag("strict") or False,
    )


def schema_of(fields: Fields, name: str) -> str:
    """A JSON schema as text; the empty string without one."""
    value: Any = fields.take(name)
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise wrong(fields.at(name), "must be a JSON schema, an object")
    return json.dumps(value)


def choice_of(body: Fields) -> ToolChoice | None:
    """Takes `tool_choice` of chat completions or of responses."""
    value = body.take("tool_choice")
    if value is None:
        return None
    if isinstance(value, str):
        if value not in MODES:
            raise wrong("tool_choice", f"must be {', '.join(MODES)}, or a function")
        return ToolChoice(ToolMode(value))
    fields = Fields(value, "tool_choice")
    kind = fields.required("type")
    if kind != "function":
        raise not_served("tool_choice.type", f"{kind}: name a function, or use {', '.join(MODES)}")
    function = fields.object("function") or fields
    choice = ToolChoice.named(function.required("name"))
    if function is not fields:
        function.close()
    fields.close()
    return choice


def anthropic_tool_options(body: Fields) -> dict[str, Any]:
    """Takes `tools` and `tool_choice` of Anthropic's API. Returns what is set."""
    items = body.array("tools")
    tools = items and [_anthropic_tool(Fields(item, f"tools[{at}]")) for at, item in enumerate(items)]
    choice, parallel = _anthropic_choice(body)
    given = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}
    return {name: value for name, value in given.items() if value is not None}


def _anthropic_tool(fields: Fields) -> Tool:
    if fields.text("type") not in ("custom", None):
        raise not_served(fields.at("type"), "only tools of the client are served")
    tool = _tool(fields, "input_schema")
    fields.close()
    return tool


def _anthropic_choice(body: Fields) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may be parallel."""
    fields = body.object("tool_choice")
    if fields is None:
        return None, None
    kind = fields.choice("type", "auto", "any", "none", "tool")
    disabled = fields.flag("disable_parallel_tool_use")
    parallel = None if disabled is None else not disabled
    if kind == "tool":
        choice = ToolChoice.named(fields.required("name"))
    else:
        choice = ToolChoice(ToolMode.REQUIRED if kind == "any" else ToolMode(kind or "auto"))
    fields.close()
    return choice, parallel
