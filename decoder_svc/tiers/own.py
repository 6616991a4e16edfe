"""The last tier: the decoder's own model. It answers every request that reaches it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

from decoder_svc.answer import Answerer
from decoder_svc.budget.tariff import Spend
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers, Tier
from decoder_svc.tiers.timing import DummyEngine
from fovea.contract.answer import Event
from fovea.deadline import Deadline


class OwnModel(Tier):
    """The engine is that of `dummy`."""

    computes: ClassVar[bool] = True

    def __init__(self, name: str, answerer: Answerer, dummy: DummyEngine) -> None:
        self.name = name
        self.answerer = answerer
        self.dummy = dummy

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        async with aclosing(self.answerer.answer(request, encoders, deadline, used)) as events:
            async for event in events:
                yield event

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        return await self.answerer.most(request, encoders, deadline)

    def forget(self, tenant: str, digest: str = "") -> None:
        self.answerer.forget(tenant, digest)
