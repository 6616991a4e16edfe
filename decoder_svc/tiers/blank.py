"""Answers requests whose images all have a single colour, without a model.

The answer says what the encoder has measured. The receipt names the tier, so that callers can tell such an
answer from that of a model.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers, Tier
from decoder_svc.tiers.when import image_facts
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.image import ImageFacts, ImageKind
from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Totals
from fovea.deadline import Deadline

ONE = "The image is blank: it shows a single colour."
SEVERAL = "The images are blank: each shows a single colour."


@dataclass(frozen=True)
class BlankSettings:
    """The texts of the answers, for an image and for several."""

    text: Annotated[str, Field(min_length=1)] = ONE
    text_several: Annotated[str, Field(min_length=1)] = SEVERAL


class BlankTier(Tier):
    """Passes requests on whose answer has a format, log-probabilities, stop strings or tool calls, or whose
    answer has begun.
    """

    def __init__(self, name: str, settings: BlankSettings = BlankSettings()) -> None:
        self.name = name
        self._settings = settings

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        why = _needs_model(request)
        facts = () if why else await image_facts(request, encoders, deadline)
        if not facts or any(each.kind is not ImageKind.BLANK for each in facts):
            used.hops.append(Hop(self.name, why or "not all images are blank"))
            async with aclosing(following(request, encoders, deadline, used)) as events:
                async for event in events:
                    yield event
            return
        used.hops.append(Hop(self.name, f"blank images: {len(facts)}"))
        yield Started(request.id, self.name, 0, 0)
        yield Text(self._settings.text if len(facts) == 1 else self._settings.text_several)
        receipt = Receipt(tuple(map(_not_seen, facts)), Totals(), Stages(total=used.elapsed_ms()))
        yield Finished(FinishReason.STOP, "", receipt)


def _needs_model(request: ChatRequest) -> str:
    """Why only a model can answer; empty if there may be another answer."""
    sampling = request.sampling
    if not request.images:
        return "no image"
    if sampling.response_format is not None or sampling.logprobs or sampling.stop or not request.is_plain:
        return "the answer needs a model"
    return ""


def _not_seen(facts: ImageFacts) -> ImageReceipt:
    """An image that no model has seen."""
    return ImageReceipt(
        facts.digest, (facts.width, facts.height), (0, 0), (0, 0, 0), 0, 0, 0, kind=facts.kind
    )
