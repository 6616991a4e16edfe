"""Prepares a request: describes and plans its images, and locates their rows if they depend on the pixels.

Planning needs only sizes and measures. If the pixels decide which rows remain, the owning encoders report
them, for all images concurrently. Independent of the engine and of sampling.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.planner import plan
from decoder_svc.encoders.broadcast import as_stream
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.source import RowRequest
from decoder_svc.engine.protocol import Prompt
from decoder_svc.images.epochs import DeletionEpochs
from decoder_svc.images.repeats import RepeatedImages
from decoder_svc.prompt.builder import PromptBuilder, PromptDraft
from decoder_svc.request import ChatRequest, ImageInput, TokenCost
from fovea.contract.errors import EncoderUnavailable, ImageNotStored, about_image
from fovea.contract.image import StoredImage
from fovea.contract.row_stream import RowPlacement, kept_bytes
from fovea.contract.rows import RowLayout
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.planning.detail import ImageTraits

T = TypeVar("T")


@dataclass(frozen=True)
class PreparedRequest:
    """A request with planned images. `images` has an entry per place, in the caller's order.

    `placements` holds the located rows by the number of the distinct image.
    """

    request: ChatRequest
    draft: PromptDraft
    repeats: RepeatedImages
    images: tuple[PlannedImage, ...] = ()
    placements: Mapping[int, RowPlacement] = field(default_factory=dict)

    @property
    def distinct(self) -> tuple[PlannedImage, ...]:
        """The distinct images, in the order of the draft's indexes."""
        return tuple(self.images[place] for place in self.repeats.distinct)

    @property
    def degraded(self) -> bool:
        return any(image.degraded for image in self.images)

    @property
    def cost(self) -> TokenCost:
        return TokenCost(
            self.draft.text_tokens,
            sum(image.tokens for image in self.images),
            sum(image.tokens_min for image in self.images),
            sum(image.rows for image in self.images),
        )


class RequestPreparer:
    """Prepares requests for a checkpoint. Keeps no state of a request."""

    def __init__(
        self, builder: PromptBuilder, geometry: Geometry, fingerprint: str, shares_rows: bool = False
    ) -> None:
        self._builder = builder
        self._geometry = geometry
        self._fingerprint = fingerprint
        self._shares_rows = shares_rows
        self._epochs = DeletionEpochs()

    def forget(self, tenant: str, digest: str = "") -> None:
        """Find nothing again that was cached of an image, or of a whole tenant."""
        self._epochs.advance(tenant, digest)
        if self._shares_rows:
            self._epochs.advance("", digest)

    def text_tokens(self, text: str) -> int:
        """Tokens of plain text in a prompt."""
        return len(self._builder.tokenizer.encode_text(text))

    async def prepare(
        self, request: ChatRequest, budget: ServerBudget, encoders: Fleet, deadline: Deadline
    ) -> PreparedRequest:
        """Raises a FoveaError if an image is missing or does not fit its budget."""
        return await self.describe(await self.draft(request, budget), budget, encoders, deadline)

    async def draft(self, request: ChatRequest, budget: ServerBudget) -> PreparedRequest:
        """The request with its chat rendered and tokenised. Its images are not described."""
        repeats = RepeatedImages.of(request.images, budget.repeat_policy, budget.thins)
        messages = repeats.messages(request.messages)
        draft = await asyncio.to_thread(self._builder.draft, messages, request.chat_options)
        return PreparedRequest(request, draft, repeats)

    async def describe(
        self, drafted: PreparedRequest, budget: ServerBudget, encoders: Fleet, deadline: Deadline
    ) -> PreparedRequest:
        """The drafted request with its images planned."""
        images, repeats = drafted.request.images, drafted.repeats
        traits = await gather_or_cancel(
            [
                self._traits(images[place], repeats.times(place), encoders, deadline)
                for place in repeats.distinct
            ]
        )
        return self.planned(drafted, traits, budget)

    def planned(
        self, prepared: PreparedRequest, traits: Sequence[ImageTraits], budget: ServerBudget
    ) -> PreparedRequest:
        """The request with its distinct images planned. `budget` must treat repeats as the request does."""
        plans, repeats = plan(traits, budget, self._geometry), prepared.repeats
        images = (
            replace(
                plans[repeats.number(place)],
                digest=image.digest,
                path=image.path,
                repeat_of=repeats.earlier(place),
                referred=repeats.referred(place),
            )
            for place, image in enumerate(prepared.request.images)
        )
        return replace(prepared, images=tuple(images))

    async def place(
        self,
        prepared: PreparedRequest,
        layout: RowLayout | None,
        encoders: Fleet,
        deadline: Deadline,
        stored_only: bool = False,
    ) -> PreparedRequest:
        """Locate the rows of every image whose pixels decide them. Calls no encoder if there is none."""
        unplaced = {n: image for n, image in enumerate(prepared.distinct) if _needs_placement(image)}
        if layout is None or not unplaced:
            return prepared
        tenant = prepared.request.tenant
        placements = await gather_or_cancel(
            [
                _about(
                    image,
                    encoders.place(
                        self.row_request(tenant, image, layout, whole=True), deadline, stored_only
                    ),
                )
                for image in unplaced.values()
            ]
        )
        known = {n: placement for n, placement in zip(unplaced, placements, strict=True) if placement.known}
        placed = tuple(
            _placed(image, known[number]) if (number := prepared.repeats.number(place)) in known else image
            for place, image in enumerate(prepared.images)
        )
        return replace(prepared, images=placed, placements=known)

    def row_request(
        self, tenant: str, image: PlannedImage, layout: RowLayout, whole: bool = False
    ) -> RowRequest:
        """The request for an image's planned rows. `whole`, before placement, requests all of its rows."""
        rows, kept = (image.planned.tokens, None) if whole else (image.sent, image.kept)
        return RowRequest(
            image.digest,
            image.plan,
            image.planned.grid_thw,
            rows,
            self._fingerprint,
            layout,
            kept,
            tenant,
            self._shares_rows,
        )

    def prompt(self, prepared: PreparedRequest, layout: RowLayout | None) -> Prompt:
        """The prompt. Its salt keeps the KV cache of a tenant apart from that of others, text included."""
        images, tenant = prepared.distinct, prepared.request.tenant
        prompt = self._builder.expand(
            prepared.draft,
            [image.planned.grid_thw for image in images],
            [image.kept for image in images],
            [self._key(tenant, image, layout) for image in images],
        )
        return replace(prompt, salt=prompt_salt(tenant, self._epochs.of(tenant)))

    def _key(self, tenant: str, image: PlannedImage, layout: RowLayout | None) -> bytes:
        """Identifies the rows of an image for prefix reuse: tenant, model, content, plan and row layout."""
        owner = "" if self._shares_rows else tenant
        epochs = self._epochs.of(owner, image.digest)
        text = f"{owner}\n{epochs}\n{self._fingerprint}\n{image.digest}\n{image.planned.grid_thw}\n{layout}"
        if image.plan.by_content or image.kept is not None:
            kept = hashlib.sha256(kept_bytes(image.kept)).hexdigest()
            text += f"\n{image.plan.flat_tolerance}\n{image.plan.rows}\n{kept}"
        return hashlib.sha256(text.encode()).digest()

    async def _traits(
        self, image: ImageInput, times: int, encoders: Fleet, deadline: Deadline
    ) -> ImageTraits:
        """Size and measures of an image that can be planned. An inline image is stored first."""
        with about_image(image.path):
            if image.size is None:
                traits = ImageTraits.of((await stored_image(image, encoders, deadline)).facts)
            else:
                traits = ImageTraits(*image.size, measured=False)
            self._geometry.plan(*traits.size)
            return replace(traits, times=times)


def _needs_placement(image: PlannedImage) -> bool:
    """Whether the pixels decide its rows. An image given only by its size has no digest."""
    return bool(image.plan.by_content and image.digest)


def _placed(image: PlannedImage, placement: RowPlacement) -> PlannedImage:
    header, encoded = placement.header, placement.encoded(image.plan, image.planned.tokens)
    return replace(image, encoded=encoded, sent=header.rows, sent_min=header.rows, kept=header.kept)


async def stored_image(image: ImageInput, encoders: Fleet, deadline: Deadline) -> StoredImage:
    """An image of a request, with its facts. An inline image is stored first."""
    if image.data is None:
        return await encoders.describe(image.digest, deadline)
    try:
        return await encoders.lookup(image.digest, deadline)
    except ImageNotStored:
        return await _upload(image.digest, image.data, encoders, deadline)


async def _upload(digest: str, data: bytes, encoders: Fleet, deadline: Deadline) -> StoredImage:
    """Upload an image; once more if every encoder that took it has failed, since another may be back."""
    try:
        return await encoders.put(digest, as_stream(data), deadline)
    except EncoderUnavailable:
        return await encoders.put(digest, as_stream(data), deadline)


async def _about(image: PlannedImage, call: Awaitable[T]) -> T:
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


def prompt_salt(tenant: str, epochs: tuple[int, int]) -> bytes:
    """What keeps KV blocks of a tenant apart from others, and from its own before a deletion."""
    return hashlib.sha256(f"tenant\n{tenant}\n{epochs}".encode()).digest()
