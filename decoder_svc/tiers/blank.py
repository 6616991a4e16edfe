"""Answers requests whose images all have a single colour, without a model.

The answer says what the encoder has measured. The receipt names the tier, so that callers can tell such an
answer from that of a model.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import NOTHING_USED, Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers, Tier
from decoder_svc.tiers.when import are_all
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.image import ImageKind
from fovea.contract.receipt import Stages
from fovea.deadline import Deadline

ONE = "The image is blank: it shows a single colour."
SEVERAL = "The images are blank: each shows a single colour."


@dataclass(frozen=True)
class BlankSettings:
    """The texts of the answers, for an image and for several."""

    text: Annotated[str, Field(min_length=1)] = ONE
    text_several: Annotated[str, Field(min_length=1)] = SEVERAL


class BlankTier(Tier):
    """Passes requests on whose answer has a format, log-probabilities or stop strings: its text has none."""

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
        why = await self._refusal(request, encoders, deadline)
        if why:
            used.hops.append(Hop(self.name, why))
            async with aclosing(following(request, encoders, deadline, used)) as events:
                async for event in events:
                    yield event
            return
        used.hops.append(Hop(self.name, f"{len(request.images)} blank"))
        yield Started(request.id, self.name, 0, 0)
        yield Text(self._settings.text if len(request.images) == 1 else self._settings.text_several)
        receipt = replace(NOTHING_USED, stages_ms=Stages(total=used.elapsed_ms()))
        yield Finished(FinishReason.STOP, "", receipt)

    async def _refusal(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> str:
        """Why the tier does not answer; empty if it does."""
        sampling = request.sampling
        if sampling.response_format is not None or sampling.logprobs or sampling.stop:
            return "the answer needs a model"
        if not await are_all((ImageKind.BLANK,), request, encoders, deadline):
            return "not all images are blank" if request.images else "no image"
        return ""
