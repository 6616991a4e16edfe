"""Prepares a request: describes and plans its images, and locates their rows if they depend on the pixels.

Planning needs only sizes and measures. If the pixels decide which rows remain, the owning encoders report
them, for all images concurrently. Independent of the engine and of sampling.
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
from fovea.contract.errors import ImageNotStored, about_image
from fovea.contract.image import StoredImage
from fovea.contract.rows import RowLayout
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.planning.detail import ImageTraits

T = TypeVar("T")


@dataclass(frozen=True)
class PreparedRequest:
    """A request with described images. `images` has an entry per place, in the caller's order."""

    draft: PromptDraft
    repeats: RepeatedImages
    traits: tuple[ImageTraits, ...]
    images: tuple[PlannedImage, ...]
    degraded: bool = False
    placed: Mapping[int, FetchReport] | None = None

    @property
    def distinct(self) -> tuple[PlannedImage, ...]:
        """The distinct images, in the order of the draft's indexes."""
        return tuple(self.images[place] for place in self.repeats.distinct)

    @property
    def cost(self) -> TokenCost:
        return TokenCost(
            self.draft.text_tokens,
            sum(image.tokens for image in self.images),
            sum(image.tokens_min for image in self.images),
            sum(image.rows for image in self.images),
        )

    def report_of(self, number: int) -> FetchReport | None:
        """The report of PlaceRows for a distinct image; None if it was not called."""
        return (self.placed or {}).get(number)


class RequestPreparer:
    """Prepares requests for a checkpoint. Keeps no state of a request."""

    def __init__(self, builder: PromptBuilder, geometry: Geometry, fingerprint: str) -> None:
        self._builder = builder
        self._geometry = geometry
        self._fingerprint = fingerprint

    async def prepare(
        self, request: ChatRequest, budget: ServerBudget, encoders: Fleet, deadline: Deadline
    ) -> PreparedRequest:
        """Raises a FoveaError if an image is missing or does not fit its budget."""
        repeats = RepeatedImages.of(request.images, budget.repeat_policy, budget.thins)
        draft = await asyncio.to_thread(self._builder.draft, repeats.messages(request.messages))
        traits = await gather_or_cancel(
            [_traits(request.images[place], encoders, deadline) for place in repeats.distinct]
        )
        return self.planned(request, budget, PreparedRequest(draft, repeats, tuple(traits), ()))

    def planned(
        self, request: ChatRequest, budget: ServerBudget, prepared: PreparedRequest
    ) -> PreparedRequest:
        """The same request under a budget that treats repeats as `prepared` does."""
        repeats = prepared.repeats
        wanted = [
            Wanted(traits, repeats.times(place), request.images[place].path)
            for traits, place in zip(prepared.traits, repeats.distinct, strict=True)
        ]
        plans = plan(wanted, budget, self._geometry)
        images = tuple(
            self._image(request, repeats, place, prepared.traits[number], plans[number])
            for place in range(len(request.images))
            for number in (repeats.number(place),)
        )
        return replace(prepared, images=images, degraded=any(plan.degraded for plan in plans))

    async def place(
        self,
        prepared: PreparedRequest,
        layout: RowLayout | None,
        encoders: Fleet,
        deadline: Deadline,
        stored_only: bool = False,
    ) -> PreparedRequest:
        """Locate the rows of every image whose pixels decide them. Calls no encoder if there is none."""
        numbers = [number for number, image in enumerate(prepared.distinct) if _needs_placement(image)]
        if layout is None or not numbers:
            return prepared
        images = [prepared.distinct[number] for number in numbers]
        placements = await gather_or_cancel(
            [
                _about(image, encoders.place(self.wanted(image, layout, whole=True), deadline, stored_only))
                for image in images
            ]
        )
        known = {n: placement for n, placement in zip(numbers, placements, strict=True) if placement.known}
        placed = tuple(
            _placed(image, known[number]) if (number := prepared.repeats.number(place)) in known else image
            for place, image in enumerate(prepared.images)
        )
        reports = {number: placement.report for number, placement in known.items()}
        return replace(prepared, images=placed, placed=reports)

    def wanted(self, image: PlannedImage, layout: RowLayout, whole: bool = False) -> RowRequest:
        """The request for an image's planned rows; for all of its rows with `whole`, before placement."""
        rows = image.planned.tokens if whole else image.sent
        kept = b"" if whole else image.kept
        return RowRequest(
            image.digest, image.plan, image.planned.grid_thw, rows, self._fingerprint, layout, kept
        )

    def prompt(self, prepared: PreparedRequest, layout: RowLayout | None) -> Prompt:
        images = prepared.distinct
        return self._builder.expand(
            prepared.draft,
            [image.planned.grid_thw for image in images],
            [_kept_indexes(image.kept) for image in images],
            [self._key(image, layout) for image in images],
        )

    def _key(self, image: PlannedImage, layout: RowLayout | None) -> bytes:
        """Identifies the rows of an image for prefix reuse: model, content, plan and row layout."""
        text = f"{self._fingerprint}\n{image.digest}\n{image.planned.grid_thw}\n{layout}"
        if image.plan.by_content or image.kept:
            kept = hashlib.sha256(image.kept).hexdigest()
            text += f"\n{image.plan.flat_tolerance}\n{image.plan.rows}\n{kept}"
        return hashlib.sha256(text.encode()).digest()

    def _image(
        self, request: ChatRequest, repeats: RepeatedImages, place: int, traits: ImageTraits, plan: ImagePlan
    ) -> PlannedImage:
        return PlannedImage(
            request.images[place].digest,
            *traits.size,
            plan=plan.rows,
            planned=plan.planned,
            tokens_full=self._geometry.plan(*traits.size).tokens,
            encoded=plan.planned.tokens,
            sent=plan.most,
            sent_min=plan.least,
            sizing=plan.steps,
            kind=traits.kind,
            repeat_of=repeats.earlier(place),
            referred=repeats.referred(place),
            path=request.images[place].path,
        )


def _needs_placement(image: PlannedImage) -> bool:
    """Whether the pixels decide its rows. An image given only by its size has no digest."""
    return bool(image.plan.by_content and image.digest)


def _placed(image: PlannedImage, placed: RowPlacement) -> PlannedImage:
    return replace(image, encoded=placed.encoded, sent=placed.rows, sent_min=placed.rows, kept=placed.kept)


def _kept_indexes(kept: bytes) -> NDArray[np.int32] | None:
    return np.frombuffer(kept, "<i4").astype(np.int32) if kept else None


async def _traits(image: ImageInput, encoders: Fleet, deadline: Deadline) -> ImageTraits:
    """Size and measures of an image. An inline image is stored first."""
    if image.size is not None:
        return ImageTraits(*image.size, measured=False)
    return ImageTraits.of((await _about(image, _stored(image, encoders, deadline))).facts)


async def _stored(image: ImageInput, encoders: Fleet, deadline: Deadline) -> StoredImage:
    if image.data is None:
        return await encoders.describe(image.digest, deadline)
    try:
        return await encoders.lookup(image.digest, deadline)
    except ImageNotStored:
        return await encoders.put(image.digest, _as_stream(image.data), deadline)


async def _about(image: ImageInput | PlannedImage, call: Awaitable[T]) -> T:
    with about_image(image.path):
        return await call


async def gather_or_cancel(calls: Sequence[Awaitable[T]]) -> list[T]:
    """All results, or the first failure once the other calls are cancelled."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _as_stream(data: bytes) -> AsyncIterator[bytes]:
    yield data
