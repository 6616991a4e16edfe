"""The protocol of a tier: answer a request, or pass it to the tiers that follow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from fovea.contract.answer import Event
from fovea.deadline import Deadline

Answers = Callable[[ChatRequest, Fleet, Deadline, RequestUsage], AsyncGenerator[Event, None]]
"""Yields Started, any number of Text, then Finished. Raises FoveaError on refusal or failure."""


class Tier(Protocol):
    """A way to answer requests.

    A tier that answers by itself yields the events of its answer. A tier that does not notes why in
    `used.hops` and yields the events of `following`, before it has yielded any event of its own. A tier may
    change the request that it passes on, and may look at the events that pass.
    """

    name: str

    def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]: ...
