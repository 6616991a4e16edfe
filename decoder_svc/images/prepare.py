"""A request before anything runs: its images found, planned, and where it takes that, their rows placed.

What depends on sizes alone is decided here without a question to anybody. Which rows the pixels leave is
asked of the encoder that owns the image, for all images side by side. Knows no engine and no sampling.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.planner import ImagePlan, Wanted, plan
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.source import FetchReport, RowPlacement, RowRequest
from decoder_svc.engine.protocol import Prompt
from decoder_svc.images.repeats import RepeatedImages
from decoder_svc.prompt.builder import PromptBuilder, PromptDraft
from decoder_svc.request import ChatRequest, ImageInput, PlannedImage, TokenCost
from fovea.contract.errors import FoveaError, about_image
from fovea.contract.image import StoredImage
from fovea.contract.rows import RowLayout
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.planning.detail import ImageTraits

T = TypeVar("T")


@dataclass(frozen=True)
class PreparedRequest:
    """A request whose images are known. `images` stand in the caller's order, one a place."""

    draft: PromptDraft
    copies: RepeatedImages
    looks: tuple[ImageTraits, ...]
    images: tuple[PlannedImage, ...]
    degraded: bool = False
    placed: Mapping[int, FetchReport] | None = None

    @property
    def different(self) -> tuple[PlannedImage, ...]:
        """Each image once, in the order of the draft's indexes."""
        return tuple(self.images[place] for place in self.copies.different)

    @property
    def cost(self) -> TokenCost:
        return TokenCost(
            self.draft.text_tokens,
            sum(image.tokens for image in self.images),
            sum(image.tokens_min for image in self.images),
            sum(image.rows for image in self.images),
        )

    def report_of(self, number: int) -> FetchReport | None:
        """What placing the rows of a different image cost, where that was asked for."""
        return (self.placed or {}).get(number)


class RequestPreparer:
    """Prepares requests for one checkpoint; holds no state of any."""

    def __init__(self, builder: PromptBuilder, geometry: Geometry, fingerprint: str) -> None:
        self._builder = builder
        self._geometry = geometry
        self._fingerprint = fingerprint

    async def prepare(
        self, ask: ChatRequest, budget: ServerBudget, encoders: Fleet, deadline: Deadline
    ) -> PreparedRequest:
        """Raises a FoveaError where an image is missing, or does not fit its budget."""
        copies = RepeatedImages.of(ask.images, budget.repeat_policy, budget.thins)
        draft = await asyncio.to_thread(self._builder.draft, copies.messages(ask.messages))
        looks = await gather_or_cancel([_look(ask.images[at], encoders, deadline) for at in copies.different])
        return self.planned(ask, budget, PreparedRequest(draft, copies, tuple(looks), ()))

    def planned(self, ask: ChatRequest, budget: ServerBudget, prepared: PreparedRequest) -> PreparedRequest:
        """The same request under a budget whose treatment of repeats is that of `prepared`."""
        copies = prepared.copies
        wanted = [
            Wanted(look, copies.times(place), ask.images[place].path)
            for look, place in zip(prepared.looks, copies.different, strict=True)
        ]
        plans = plan(wanted, budget, self._geometry)
        images = tuple(
            self._image(ask, copies, place, prepared.looks[number], plans[number])
            for place in range(len(ask.images))
            for number in (copies.number(place),)
        )
        return replace(prepared, images=images, degraded=any(one.degraded for one in plans))

    async def place(
        self,
        prepared: PreparedRequest,
        layout: RowLayout | None,
        encoders: Fleet,
        deadline: Deadline,
        stored_only: bool = False,
    ) -> PreparedRequest:
        """With the true rows of every image whose pixels decide them; asks nobody where there is none."""
        numbers = [at for at, image in enumerate(prepared.different) if _open(image)]
        if layout is None or not numbers:
            return prepared
        images = [prepared.different[at] for at in numbers]
        placed = await gather_or_cancel(
            [
                _about(image, encoders.place(self.wanted(image, layout, whole=True), deadline, stored_only))
                for image in images
            ]
        )
        found = {at: one for at, one in zip(numbers, placed, strict=True) if one.known}
        shown = tuple(
            _placed(image, found[number]) if (number := prepared.copies.number(place)) in found else image
            for place, image in enumerate(prepared.images)
        )
        return replace(prepared, images=shown, placed={at: one.report for at, one in found.items()})

    def wanted(self, image: PlannedImage, layout: RowLayout, whole: bool = False) -> RowRequest:
        """The rows of an image, or as long as they are not placed, the whole of it."""
        rows = image.planned.tokens if whole else image.sent
        kept = b"" if whole else image.kept
        return RowRequest(
            image.digest, image.plan, image.planned.grid_thw, rows, self._fingerprint, layout, kept
        )

    def prompt(self, prepared: PreparedRequest, layout: RowLayout | None) -> Prompt:
        images = prepared.different
        return self._builder.expand(
            prepared.draft,
            [image.planned.grid_thw for image in images],
            [_places(image.kept) for image in images],
            [self._key(image, layout) for image in images],
        )

    def _key(self, image: PlannedImage, layout: RowLayout | None) -> bytes:
        """What the rows of an image are, for prefix reuse: model, content, plan and row layout."""
        text = f"{self._fingerprint}\n{image.digest}\n{image.planned.grid_thw}\n{layout}"
        if image.plan.by_content or image.kept:
            kept = hashlib.sha256(image.kept).hexdigest()
            text += f"\n{image.plan.flat_tolerance}\n{image.plan.rows}\n{kept}"
        return hashlib.sha256(text.encode()).digest()

    def _image(
        self, ask: ChatRequest, copies: RepeatedImages, place: int, look: ImageTraits, plan: ImagePlan
    ) -> PlannedImage:
        return PlannedImage(
            ask.images[place].digest,
            *look.size,
            plan=plan.rows,
            planned=plan.planned,
            tokens_full=self._geometry.plan(*look.size).tokens,
            encoded=plan.planned.tokens,
            sent=plan.most,
            sent_min=plan.least,
            sizing=plan.steps,
            kind=look.kind,
            repeat_of=copies.repeats(place),
            referred=copies.referred(place),
            path=ask.images[place].path,
        )


def _open(image: PlannedImage) -> bool:
    """Whether it takes the pixels to know its rows. A digest is missing where only a size was told."""
    return bool(image.plan.by_content and image.digest)


def _placed(image: PlannedImage, placed: RowPlacement) -> PlannedImage:
    """With its true rows."""
    return replace(image, encoded=placed.encoded, sent=placed.rows, sent_min=placed.rows, kept=placed.kept)


def _places(kept: bytes) -> NDArray[np.int32] | None:
    return np.frombuffer(kept, "<i4").astype(np.int32) if kept else None


async def _look(image: ImageInput, encoders: Fleet, deadline: Deadline) -> ImageTraits:
    """What is known of an image; an inline one is stored first."""
    if image.size is not None:
        return ImageTraits(*image.size, measured=False)
    return ImageTraits.of((await _about(image, _stored(image, encoders, deadline))).facts)


async def _stored(image: ImageInput, encoders: Fleet, deadline: Deadline) -> StoredImage:
    try:
        return await encoders.describe(image.digest, deadline)
    except FoveaError as error:
        if error.reason != "IMAGE_NOT_STORED" or image.data is None:
            raise
    return await encoders.put(image.digest, _whole(image.data), deadline)


async def _about(image: ImageInput | PlannedImage, call: Awaitable[T]) -> T:
    with about_image(image.path):
        return await call


async def gather_or_cancel(calls: Sequence[Awaitable[T]]) -> list[T]:
    """All results, or the first failure, after the others were ended."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
