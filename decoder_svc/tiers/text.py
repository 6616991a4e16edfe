"""Text instead of pixels: an image of plain text is replaced by its text, where that is allowed and cheaper.

The encoders read images by OCR, beside the request: a request waits a bounded time for the text, or takes the
pixels. The text is untrusted. It enters the prompt between fences, which it cannot contain, and like any text
of a caller it never becomes a control token. The receipt shows each replaced image with a step `text`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from decoder_svc.answer import Answerer
from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.tariff import Tariff
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.images.prepare import PreparedRequest, gather_or_cancel
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.substitute import Substitute, add_substitutes, fence, reference, rewrite
from decoder_svc.tiers.tier import Answers, Figure, Tier
from decoder_svc.tiers.values import Share
from fovea.contract.answer import Event, Finished
from fovea.contract.errors import FoveaError
from fovea.contract.image import ImageKind
from fovea.contract.receipt import Receipt, Totals
from fovea.contract.text import ImageText
from fovea.deadline import Deadline

EVERY_TENANT = "*"
CONCURRENT = 16
"""Requests that this tier examines at a time: it runs before admission. Further requests take the pixels."""
STORED_S = 1.0
"""Seconds for text that has been read before."""


@dataclass(frozen=True)
class TextSettings:
    """`tenants` are those whose images may be replaced without `allow_text_substitution`; "*" is all.

    `min_confidence` is that of the least sure line. `min_saving` is the share of an image's visual tokens
    that must be saved. A request waits at most `wait_s` seconds for the text of its images, and at most
    `wait_share` of its time. With a `wait_s` of 0 only images are replaced that have been read before; others
    are read in the background.
    """

    tenants: tuple[str, ...] = ()
    min_confidence: Share = 0.8
    min_saving: Annotated[float, Field(ge=0, lt=1)] = 0.2
    wait_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    wait_share: Share = 0.25


class TextTier(Tier):
    """Replaces images and passes every request on. `answerer` plans images and counts tokens."""

    def __init__(self, name: str, settings: TextSettings, answerer: Answerer, tariff: Tariff) -> None:
        self.name = name
        self._settings = settings
        self._answerer = answerer
        self._tariff = tariff
        self._examining = 0
        self._replaced = 0
        self._saved_tokens = 0

    @property
    def figures(self) -> Sequence[Figure]:
        return (
            Figure("text_images", "Images that were replaced by their text.", lambda: self._replaced),
            Figure("text_saved_tokens", "Tokens saved by text for pixels.", lambda: self._saved_tokens),
        )

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        substitutes, reason = await self._examine(request, encoders, deadline)
        used.hops.append(Hop(self.name, reason))
        receipt: Receipt | None = None
        try:
            rewritten = rewrite(request, substitutes)
            async with aclosing(following(rewritten, encoders, deadline, used)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        receipt = add_substitutes(event.receipt, substitutes, self._tariff)
                        event = replace(event, receipt=receipt)
                    yield event
        finally:
            if receipt is not None:
                used.receipt = receipt
            elif used.prepared is not None:  # cut; a request that was refused earlier has no images
                used.receipt = add_substitutes(used.receipt, substitutes, self._tariff)

    async def _examine(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline
    ) -> tuple[dict[int, Substitute], str]:
        """The substitutes by place, and the reason on the receipt."""
        if not request.images:
            return {}, "no image"
        if not self._allows(request):
            return {}, "not allowed by request or tenant"
        if self._examining >= CONCURRENT:
            return {}, f"{CONCURRENT} requests are examined already"
        self._examining += 1
        try:
            prepared = await self._answerer.prepare(request, encoders, deadline)
            return await self._substitutes(prepared, encoders, deadline)
        except FoveaError as error:  # the following tier will meet it too, and is the one to tell
            return {}, f"not planned: {error.reason}"
        finally:
            self._examining -= 1

    def _allows(self, request: ChatRequest) -> bool:
        tenants = self._settings.tenants
        return request.allow_text_substitution or request.tenant in tenants or EVERY_TENANT in tenants

    async def _substitutes(
        self, prepared: PreparedRequest, encoders: Fleet, deadline: Deadline
    ) -> tuple[dict[int, Substitute], str]:
        firsts = [
            place
            for place in prepared.repeats.distinct
            if prepared.images[place].traits.kind is ImageKind.TEXT
        ]
        wait = Deadline.after(self._wait_s(deadline))
        texts = await gather_or_cancel(
            [self._read(prepared.images[place].digest, encoders, wait) for place in firsts]
        )
        chosen: dict[int, Substitute] = {}
        reasons: list[str] = []
        for first, text in zip(firsts, texts, strict=True):
            verdict = text if isinstance(text, str) else await self._judge(prepared, first, text)
            if isinstance(verdict, str):
                reasons.append(f"image {first + 1}: {verdict}")
            else:
                chosen |= verdict
        self._count(chosen)
        replaced = f"{len(chosen)} of {len(prepared.images)} images by their text" if chosen else ""
        return chosen, "; ".join(filter(None, [replaced, *reasons])) or "no image of text"

    def _wait_s(self, deadline: Deadline) -> float:
        """Seconds for the texts of a request."""
        left, most = deadline.timeout(), self._settings.wait_s or STORED_S
        return most if left is None else min(most, left * self._settings.wait_share)

    async def _read(self, digest: str, encoders: Fleet, wait: Deadline) -> ImageText | str:
        """The text of an image, or why there is none in time."""
        try:
            text = await encoders.read_text(digest, wait, stored_only=not self._settings.wait_s)
        except FoveaError as error:
            return error.reason.lower()
        return "not read yet" if text is None else text

    async def _judge(
        self, prepared: PreparedRequest, first: int, text: ImageText
    ) -> dict[int, Substitute] | str:
        """The substitutes of an image at all of its places, or why its pixels are used."""
        settings = self._settings
        if text.confidence < settings.min_confidence:
            return f"confidence {text.confidence:.2f} is below {settings.min_confidence:g}"
        images = {
            place: image
            for place, image in enumerate(prepared.images)
            if prepared.repeats.firsts[place] == first
        }
        texts = {
            place: fence(first + 1, str(text)) if place == first else reference(first + 1) for place in images
        }
        tokens = await asyncio.to_thread(
            lambda: {place: self._answerer.text_tokens(each) for place, each in texts.items()}
        )
        dearer = self._dearer(list(images.values()), sum(tokens.values()))
        return dearer or {
            place: Substitute(image, texts[place], tokens[place], text.confidence)
            for place, image in images.items()
        }

    def _dearer(self, images: Sequence[PlannedImage], tokens: int) -> str:
        """Why text of so many tokens is not worth it; empty if it is."""
        visual = sum(image.tokens for image in images)
        patches = sum(image.patches for image in images if image.repeat_of is None)
        if tokens > visual * (1 - self._settings.min_saving):
            return f"{tokens} tokens of text for {visual} visual tokens"
        text, pixels = Totals(text_tokens=tokens), Totals(visual_tokens=visual, patches=patches)
        if self._tariff.most(text).amount > self._tariff.most(pixels).amount:
            return "its text would be charged more than its pixels"
        return ""

    def _count(self, substitutes: dict[int, Substitute]) -> None:
        self._replaced += len(substitutes)
        self._saved_tokens += sum(each.image.tokens - each.tokens for each in substitutes.values())
