"""Tiers that do as they are told, and a fleet that knows some images."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.tariff import Spend
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest, ImageInput
from decoder_svc.tiers.router import Router, Step
from decoder_svc.tiers.tier import Answers, Tier
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.errors import ImageNotStored
from fovea.contract.image import ImageFacts, ImageKind, StoredImage
from fovea.contract.receipt import Price, Receipt, Stages, Totals
from fovea.contract.sampling import Sampling
from fovea.deadline import Deadline

NAIVE = 100
"""Visual tokens of a request without planning, by the receipts of scripted tiers."""


NOTHING = Spend()


@dataclass
class Scripted(Tier):
    """Spends, then answers; or passes on with the reason `passes`; or raises `error`."""

    name: str = "tier"
    passes: str = ""
    says: str = ""
    spends: Spend = NOTHING
    most_spend: Spend = NOTHING
    error: Exception | None = None
    seconds: float | None = None
    kept: float | None = None
    degraded: bool = False
    requests: list[ChatRequest] = field(default_factory=list)
    open: int = 0
    computes: ClassVar[bool] = True

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        await used.admit(self.most_spend, "EUR")
        self.open += 1
        try:
            used.receipt = self._receipt()
            if self.error is not None:
                raise self.error
            if self.passes:
                used.hops.append(Hop(self.name, self.passes))
                async with aclosing(following(request, encoders, deadline, used)) as events:
                    async for event in events:
                        yield event
                return
            if self.says:
                used.hops.append(Hop(self.name, self.says))
            yield Started(request.id, self.name, 7, 5)
            yield Text("the ", (1,), (-0.5,))
            yield Text(self.name, (2, 3), (-0.25, 0.0))
            yield Finished(FinishReason.LENGTH, "", used.receipt)
        finally:
            self.open -= 1

    def _receipt(self) -> Receipt:
        totals = Totals(text_tokens=self.spends.tokens, naive_visual_tokens=NAIVE, encodes=1)
        price = Price(self.spends.amount, "EUR", 9.0)
        return Receipt((), totals, Stages(), price=price, degraded=self.degraded)

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        return self.most_spend

    async def time(self) -> float | None:
        return self.seconds

    @property
    def keeps(self) -> float | None:
        return self.kept


@dataclass
class Free(Scripted):
    """A tier that runs no model."""

    computes: ClassVar[bool] = False


@dataclass
class KnownImages:
    """The images that are stored, with their kinds; what was asked for."""

    kinds: dict[str, ImageKind] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        self.asked.append(digest)
        if digest not in self.kinds:
            raise ImageNotStored(digest)
        facts = ImageFacts(digest, digest, "PNG", 1, 64, 64, 1, False, kind=self.kinds[digest])
        return StoredImage(facts, True, 0.0)

    lookup = describe

    @property
    def fleet(self) -> Fleet:
        return cast("Fleet", self)


def ask(*digests: str, text: str = "?", **changes: Any) -> ChatRequest:
    """A greedy question about stored images."""
    parts = [*(ImagePart(at) for at in range(len(digests))), TextPart(text)]
    images = tuple(
        ImageInput(digest, path=f"messages[0].parts[{at}].image") for at, digest in enumerate(digests)
    )
    request = ChatRequest("r", (ChatMessage("user", tuple(parts)),), images, Sampling(), ServerBudget())
    return replace(request, **changes)


def router(*tiers: Tier | Step) -> Router:
    steps = [tier if isinstance(tier, Step) else Step(tier, "model") for tier in tiers]
    return Router(steps, cast("Any", None))


async def answered(
    chain: Router, request: ChatRequest, used: RequestUsage | None = None, images: KnownImages | None = None
) -> tuple[str, Finished]:
    """The text of the answer, and its last event."""
    events = await events_of(chain, request, used, images)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, Text)), events[-1]


async def events_of(
    chain: Router, request: ChatRequest, used: RequestUsage | None = None, images: KnownImages | None = None
) -> Sequence[Event]:
    fleet = (images or KnownImages()).fleet
    answer = chain.answer(request, fleet, Deadline.after(30), used or RequestUsage())
    return [event async for event in answer]
