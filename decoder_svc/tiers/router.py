"""Folds the tiers of a decoder into a single way to answer, and adds up what they may spend.

The order of the tiers, their conditions, and what a request says about tiers decide which are tried. The
tiers decide whether they answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from decoder_svc.answer import Answerer
from decoder_svc.budget.tariff import Spend
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.engine.protocol import Engine
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers, Tier
from decoder_svc.tiers.timing import DummyEngine
from decoder_svc.tiers.when import ALWAYS, When
from fovea.contract.answer import Event, Finished, Started
from fovea.contract.count import Count, Quote
from fovea.contract.errors import TierDidNotAnswer, TierUnknown
from fovea.deadline import Deadline


@dataclass
class Step:
    """A tier at its place. `seconds` is what a dummy request took at start; None if nothing was measured.

    `break_even` is that of the tiers file.
    """

    tier: Tier
    kind: str
    when: When = ALWAYS
    break_even: Literal["refuse", "warn"] = "refuse"
    seconds: float | None = None

    def describe(self) -> dict[str, Any]:
        """The tier as GetServerInfo reports it."""
        measured = {} if self.seconds is None else {"dummy_ms": 1000 * self.seconds}
        kept = {} if self.tier.keeps is None else {"kept_share": self.tier.keeps}
        fingerprint = {"fingerprint": self.tier.fingerprint} if self.tier.fingerprint else {}
        return {"name": self.tier.name, "kind": self.kind, **measured, **kept, **fingerprint}


class Router:
    """`own` is the answerer of the decoder's own model, which the last step runs."""

    def __init__(self, steps: Sequence[Step], own: Answerer) -> None:
        self.steps = tuple(steps)
        self.own = own

    @property
    def engines(self) -> list[Engine]:
        """The engines of this process. It ends if one of them dies."""
        return [dummy.engine for dummy in self.dummies]

    @property
    def dummies(self) -> list[DummyEngine]:
        """Dummy requests for each engine."""
        return [step.tier.dummy for step in self.steps if step.tier.dummy]

    @property
    def pools(self) -> list[EncoderPool]:
        """Encoders that tiers have beside those of the decoder's own model. They store images too."""
        return [step.tier.pool for step in self.steps if step.tier.pool]

    async def answer(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        """As `Answers`. `used.receipt` is that of the whole request afterwards, however the answer ends.

        Raises TierUnknown, or TierDidNotAnswer if the request forbids further tiers.
        """
        try:
            answers = self._from(self._allowed(request), request.hop_limit)
            async with aclosing(answers(request, encoders, deadline, used)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        used.model = event.model
                    if isinstance(event, Finished):
                        used.receipt = event.receipt
                        used.answered = event.finish_reason or ""
                        self._explain(request, used)
                        event = replace(event, receipt=used.total())
                    yield event
        finally:
            used.receipt = used.total()

    async def count(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Count:
        """The cost with the decoder's own model. The quote covers every tier that may be tried."""
        allowed = self._allowed(request)
        count = await self.own.count(request, encoders, deadline)
        if count.quote is None or len(self.steps) == 1:
            return count
        most = await self._most(allowed, request.hop_limit, request, encoders, deadline)
        return replace(count, quote=Quote(most.tokens, most.amount, count.quote.currency))

    def forget(self, tenant: str, digest: str = "") -> None:
        """Drop what the tiers keep of an image, or of a whole tenant."""
        for step in self.steps:
            step.tier.forget(tenant, digest)

    def _allowed(self, request: ChatRequest) -> Sequence[Step]:
        if not request.tier:
            return self.steps
        pinned = [step for step in self.steps if step.tier.name == request.tier]
        if not pinned:
            raise TierUnknown(request.tier, ", ".join(step.tier.name for step in self.steps))
        return pinned

    def _from(self, steps: Sequence[Step], hops: int) -> Answers:
        """The first of these tiers that applies, with the tiers after it to pass to.

        `hops` is the most tiers that may run a model; 0 is no limit, and -1 that none is left.
        """

        async def answer(
            request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage
        ) -> AsyncGenerator[Event, None]:
            used.give_up()
            at = await self._next(steps, request, encoders, deadline)
            if at is None or (hops < 0 and steps[at].tier.computes):
                raise self._unanswered(request, used)
            tier, after = steps[at].tier, steps[at + 1 :]
            left = _left(hops, tier)
            used.tier = tier.name
            used.later = partial(self._most, after, left, request, encoders, deadline)
            async with aclosing(
                tier.answer(request, encoders, deadline, used, self._from(after, left))
            ) as events:
                async for event in events:
                    yield event

        return answer

    async def _next(
        self, steps: Sequence[Step], request: ChatRequest, encoders: Fleet, deadline: Deadline
    ) -> int | None:
        for at, step in enumerate(steps):
            if await step.when.allows(request, encoders, deadline):
                return at
        return None

    async def _most(
        self, steps: Sequence[Step], hops: int, request: ChatRequest, encoders: Fleet, deadline: Deadline
    ) -> Spend:
        """The most that these tiers may spend together."""
        total = Spend()
        for step in steps:
            tier = step.tier
            if hops < 0 and tier.computes:
                break
            if await step.when.allows(request, encoders, deadline):
                total += await tier.most(request, encoders, deadline)
                hops = _left(hops, tier)
        return total

    def _unanswered(self, request: ChatRequest, used: RequestUsage) -> TierDidNotAnswer:
        why = used.hops[-1].reason if used.hops else "its condition `when` excludes the request"
        return TierDidNotAnswer(used.tier or request.tier, why, "tier" if request.tier else "hop_limit")

    def _explain(self, request: ChatRequest, used: RequestUsage) -> None:
        """Why the current tier has answered, unless the tier says so itself."""
        if used.hops and used.hops[-1].tier == used.tier:
            return
        if request.tier:
            reason = "asked for by the request"
        elif len(self.steps) == 1:
            reason = "only tier"
        else:
            reason = "last tier" if used.tier == self.steps[-1].tier.name else "answered"
        used.hops.append(Hop(used.tier, reason))


def _left(hops: int, tier: Tier) -> int:
    """What is left of a hop limit after a tier: 0 is no limit, -1 none left."""
    if not hops or not tier.computes:
        return hops
    return hops - 1 or -1
