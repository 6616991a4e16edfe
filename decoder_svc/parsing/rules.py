"""The rules that an answer is held to, from what its request asks for."""

from __future__ import annotations

from decoder_svc.engine.protocol import AnswerRules, CallableTool, Reasoning, Wanted
from decoder_svc.request import ChatRequest
from fovea.contract.errors import InvalidArgument

NO_ARGUMENTS = '{"type": "object", "additionalProperties": false}'


def wanted_of(request: ChatRequest, reasoning: Reasoning) -> Wanted | None:
    """The format alone where nothing else has to be held; None for free text.

    Without `strict` tools, free text holds nothing: a model may then write a call that is none. Raises
    InvalidArgument for a format of an answer that must be a tool call.
    """
    use, format = request.tool_use, request.sampling.response_format
    tools = use.callable
    if use.forced and format is not None:
        raise InvalidArgument.of_field(
            "response_format", "cannot hold an answer that tool_choice makes a call"
        )
    strict = any(tool.strict for _, tool in tools)
    holds_calls = bool(tools) and (use.forced or strict or not use.parallel or format is not None)
    if not holds_calls and (format is None or reasoning == "none"):
        return format
    rules = tuple(
        CallableTool(
            tool.name, _schema(tool.parameters, use.forced or tool.strict), f"tools[{at}].parameters"
        )
        for at, tool in tools
    )
    return AnswerRules(reasoning, rules if holds_calls else (), use.forced, use.parallel, format)


def _schema(parameters: str, held: bool) -> str:
    """The schema that arguments are held to; empty for any object."""
    return (parameters or NO_ARGUMENTS) if held else ""
