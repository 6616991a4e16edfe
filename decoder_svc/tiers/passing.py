"""Passes a request on, with the reason."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers
from fovea.contract.answer import Event
from fovea.deadline import Deadline


async def pass_on(
    hop: Hop,
    request: ChatRequest,
    encoders: Fleet,
    deadline: Deadline,
    used: RequestUsage,
    following: Answers,
) -> AsyncGenerator[Event, None]:
    """Note the hop, and let the tiers that follow answer."""
    used.hops.append(hop)
    async with aclosing(following(request, encoders, deadline, used)) as events:
        async for event in events:
            yield event
