"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from fovea.client import Finished, Message, ServerInfo, Started, Text
from fovea.contract.answer import Event
from fovea.contract.budget import UNDECIDED
from fovea.contract.errors import AnswerIncomplete, TooManyImages
from gateway_svc import gateway, images
from gateway_svc.completion import Completion
from gateway_svc.conversation import Conversation
from gateway_svc.endpoint import json_route
from gateway_svc.event_stream import DONE, EventStream, encode
from gateway_svc.fields import Fields, wrong
from gateway_svc.models import NOTICE, check_model, notice_headers
from gateway_svc.openai_messages import conversation_of
from gateway_svc.parameters import options_of


def routes() -> list[BaseRoute]:
    return [json_route("/v1/chat/completions", complete)]


@dataclass(frozen=True)
class ChatRequest:
    """A request, before its images are loaded. `options` are those of the client."""

    model: str
    conversation: Conversation
    options: dict[str, Any]
    stream: bool = False
    include_usage: bool = False

    @classmethod
    def of(cls, body: Fields) -> ChatRequest:
        """Takes the whole body. Raises the refusal of a field that is not served."""
        stream, include_usage = _stream(body)
        model, conversation, options = body.required("model"), conversation_of(body), options_of(body)
        body.close()
        return cls(model, conversation, with_detail(options, conversation), stream, include_usage)


def _stream(body: Fields) -> tuple[bool, bool]:
    stream, options = body.flag("stream") or False, body.object("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise wrong("stream_options", "needs stream true")
    include_usage = options.flag("include_usage") or False
    options.only("include_obfuscation", (False,), "chunks are not padded")
    options.close()
    return stream, include_usage


def with_detail(options: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
    """The options, with the detail of the pictures in their budget."""
    detail = conversation.detail()
    if detail is None:
        return options
    budget = options.get("budget", UNDECIDED)
    if budget.detail not in (None, detail):
        raise wrong("fovea.budget.detail", f"is {budget.detail}, and that of the images is {detail}")
    return options | {"budget": replace(budget, detail=detail)}


async def messages_of(request: Request, conversation: Conversation, info: ServerInfo) -> list[Message]:
    """The messages for the client, with their images. Raises TooManyImages before any is read or fetched."""
    most, count = info.limits["max_images"], len(conversation.pictures)
    if count > most:
        raise TooManyImages(limit=most, images=count)
    return conversation.messages(await images.load(request, conversation.pictures))


async def complete(request: Request, body: Fields) -> Response:
    """Answers whole, or as a stream."""
    chat = ChatRequest.of(body)
    info = await check_model(request, chat.model)
    headers = notice_headers(info)
    notice = headers.get(NOTICE, "")
    decoder = gateway.of(request).calling(request)
    messages = await messages_of(request, chat.conversation, info)
    if not chat.stream:
        answer = await decoder.ask(messages, **chat.options)
        completion = Completion(answer.request_id, answer.model, notice)
        return JSONResponse(completion.whole(answer), headers=headers)
    events = decoder.stream(messages, **chat.options)
    started = await opened(events)
    completion = Completion(started.request_id, started.model, notice)
    return EventStream(request, _chunks(completion, events, chat.include_usage), headers)


async def opened(events: AsyncGenerator[Event, None]) -> Started:
    """The first event. A request that is refused fails here, before a response has begun."""
    first = await anext(events, None)
    if not isinstance(first, Started):
        await events.aclose()
        raise AnswerIncomplete("the answer began without its opening message")
    return first


async def _chunks(
    completion: Completion, events: AsyncGenerator[Event, None], include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """The encoded chunks. The first waits for the first token, and the last are sent together."""
    first = [completion.opening()]
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Text):
                yield encode(*first, completion.part(event))
                first = []
            elif isinstance(event, Finished):
                usage = [completion.usage(event)] if include_usage else []
                yield encode(*first, completion.closing(event), *usage) + DONE
