"""Token counts in the shapes of two APIs: CountTokens counts them, with the images as they are planned.

POST /v1/responses/input_tokens (OpenAI) and POST /v1/messages/count_tokens (Anthropic).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from fovea.client import Count
from gateway_svc import anthropic_messages, gateway, responses_input
from gateway_svc.chat import messages_of, with_detail
from gateway_svc.conversation import Conversation
from gateway_svc.endpoint import json_route
from gateway_svc.extension import Extension
from gateway_svc.fields import Fields, wrong
from gateway_svc.models import check_model, notice_headers
from gateway_svc.parameters import THINKING, tool_options
from gateway_svc.tools import anthropic_tool_options

RESPONSES_REFUSED = {
    "conversation": responses_input.NO_STATE,
    "personality": "the model has no such preset: say it in the instructions",
    "previous_response_id": responses_input.NO_STATE,
}
ANTHROPIC_REFUSED = {
    "cache_control": "prefixes are cached by their content, without marks",
    "context_management": "nothing is edited: send the messages as they are to be counted",
    "mcp_servers": "the gateway calls no tools",
    "output_config": "it does not change the prompt: leave it out",
    "prefill": "the last message may be the assistant's",
    "speed": "there is a single speed",
    "user_profile_id": "usage is kept by tenant, which the token names",
    "workspace_id": "usage is kept by tenant, which the token names",
}


def routes() -> list[BaseRoute]:
    return [
        json_route("/v1/responses/input_tokens", count_response),
        json_route("/v1/messages/count_tokens", count_messages),
    ]


async def count_response(request: Request, body: Fields) -> Response:
    """Takes the parameters of OpenAI's `responses.input_tokens.count`."""
    body.refuse(RESPONSES_REFUSED)
    body.only("truncation", ("disabled",), "nothing is truncated: a prompt that does not fit is refused")
    _refuse_formats(body)
    options = tool_options(body) | Extension.of(body).options
    reasoning = body.object("reasoning")
    if reasoning is not None:
        if (effort := reasoning.choice("effort", *THINKING)) is not None:
            options["thinking"] = THINKING[effort]
        reasoning.close()
    model, conversation = body.required("model"), responses_input.conversation_of(body)
    body.close()
    count = await _count(request, model, conversation, options)
    shape = {"object": "response.input_tokens", "input_tokens": count.prompt_tokens}
    return await _answer(request, shape, count)


def _refuse_formats(body: Fields) -> None:
    """A format is enforced during sampling and costs no tokens of the prompt."""
    text = body.object("text")
    if text is not None:
        text.refuse({"verbosity": "the model has no such control"})
        if (form := text.object("format")) is not None:
            form.only("type", ("text",), "a format does not change the prompt: leave it out")
            form.close()
        text.close()


async def count_messages(request: Request, body: Fields) -> Response:
    """Takes the parameters of Anthropic's `messages.count_tokens`."""
    body.refuse(ANTHROPIC_REFUSED)
    options = anthropic_tool_options(body) | Extension.of(body).options
    thinking = body.object("thinking")
    if thinking is not None:
        options["thinking"] = _thinking(thinking)
    model, conversation = body.required("model"), anthropic_messages.conversation_of(body)
    body.close()
    if conversation.turns[-1].role == "assistant":
        options["continue_final_message"] = True
    count = await _count(request, model, conversation, options)
    return await _answer(request, {"input_tokens": count.prompt_tokens}, count)


def _thinking(fields: Fields) -> bool:
    kind = fields.choice("type", "enabled", "disabled", "adaptive")
    if kind is None:
        raise wrong(fields.at("type"), "is required")
    fields.integer("budget_tokens")  # bounds the answer, which is not counted here
    fields.text("display")
    fields.close()
    return kind != "disabled"


async def _count(request: Request, model: str, conversation: Conversation, options: dict[str, Any]) -> Count:
    info = await check_model(request, model)
    messages = await messages_of(request, conversation, info)
    return await gateway.of(request).calling(request).count(messages, **with_detail(options, conversation))


async def _answer(request: Request, shape: dict[str, Any], count: Count) -> Response:
    quote = {} if count.quote is None else {"quote": vars(count.quote)}
    about = {
        "text_tokens": count.text_tokens,
        "visual_tokens": count.visual_tokens,
        "visual_tokens_min": count.visual_tokens_min,
        "exact": count.exact,
        "fits_context": count.fits_context,
        **quote,
    }
    info = await gateway.of(request).info(request)
    return JSONResponse(shape | {"fovea": about}, headers=notice_headers(info))
