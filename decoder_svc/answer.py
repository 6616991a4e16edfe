"""The life of a request: find the images, plan them, build the prompt, fetch rows, run the engine, account.

An image that was asked for is used or the call fails. Leaving the stream early, by cancel or deadline, closes
the engine's iterator, which frees the slot and the KV and closes the row streams.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from decoder_svc.account import Clock, receipt
from decoder_svc.core import Delta, Engine, EngineRequest, Prompt
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.rows import Fetch, RowsWanted
from decoder_svc.errors import Aborted, ImagesMismatch, MaxPixelsOutOfRange, TooManyImages
from decoder_svc.limits import check_sampling
from decoder_svc.planner import Plan, check_fit, plan
from decoder_svc.prompt.builder import Draft, PromptBuilder
from decoder_svc.request import Ask, Count, Event, Finished, ImageInput, PlannedImage, Started, Text
from decoder_svc.sampling.grammar import check_format
from fovea.deadline import Deadline
from fovea.errors import FoveaError
from fovea.facts import ImageFacts
from fovea.geometry import Geometry
from fovea.rows import RowLayout


@dataclass(frozen=True)
class AskLimits:
    """What one request may ask for, beside the engine's own limits."""

    max_images: int
    max_image_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class ModelFacts:
    """What is known of the checkpoint without its weights."""

    name: str
    fingerprint: str
    geometry: Geometry
    kv_bytes_per_token: int


@dataclass(frozen=True)
class _Prepared:
    """A request whose images are known and whose prompt fits."""

    count: Count
    draft: Draft


class Answerer:
    """Answers requests, each from the encoders that it is given; holds no state of any, only counts them."""

    def __init__(
        self,
        engine: Engine,
        builder: PromptBuilder,
        model: ModelFacts,
        limits: AskLimits,
    ) -> None:
        self._engine = engine
        self._builder = builder
        self._model = model
        self._limits = limits
        self._numbers = itertools.count()

    async def count(self, ask: Ask, encoders: Fleet, deadline: Deadline) -> Count:
        """What the request would cost; puts nothing in the engine. Over-long requests are counted too."""
        self._check(ask)
        return (await self._prepare(ask, encoders, deadline)).count

    async def answer(self, ask: Ask, encoders: Fleet, deadline: Deadline) -> AsyncGenerator[Event, None]:
        """One Started, Texts, one Finished. Raises a FoveaError where the request is refused or fails."""
        began = time.monotonic()
        self._check(ask)
        check_sampling(ask.sampling, self._engine.limits)
        if ask.sampling.response_format is not None:
            await asyncio.to_thread(check_format, ask.sampling.response_format)
        prepared = await self._prepare(ask, encoders, deadline)
        self._check_fit(ask, prepared)
        layout = await encoders.layout([image.digest for image in prepared.count.images], deadline)
        prompt = self._prompt(prepared, layout)
        fetches = self._fetches(prepared.count, encoders, layout, deadline)
        yield Started(len(prompt.token_ids), prompt.visual_tokens)
        submitted = (time.monotonic() - began) * 1000
        # Callers may give several calls one id, to find them together in the logs; the engine may not.
        request = EngineRequest(f"{ask.id} {next(self._numbers)}", prompt, ask.sampling)
        deltas = self._engine.submit(request, [fetch.chunks() for fetch in fetches], layout)
        last: Delta | None = None
        async with aclosing(deltas) as stream:
            async for last in stream:
                if last.text or last.token_ids:
                    yield Text(last.text, last.token_ids, last.logprobs)
        if last is None or last.finish_reason in (None, "abort"):
            raise Aborted(ask.id)
        clock = Clock(submitted, (time.monotonic() - began) * 1000)
        yield self._finished(prepared.count, fetches, layout, last, clock)

    def _check(self, ask: Ask) -> None:
        if len(ask.images) > self._limits.max_images:
            raise TooManyImages(self._limits.max_images, len(ask.images))
        geometry = self._model.geometry
        if ask.max_pixels is not None and not geometry.min_pixels <= ask.max_pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange(geometry.min_pixels, geometry.max_pixels, ask.max_pixels)

    async def _prepare(self, ask: Ask, encoders: Fleet, deadline: Deadline) -> _Prepared:
        draft = await asyncio.to_thread(self._builder.draft, ask.messages)
        facts = await _locate(ask.images, encoders, deadline)
        limit = ask.max_pixels or self._limits.max_pixels
        plans = plan([(fact.width, fact.height) for fact in facts], limit, self._model.geometry)
        images = tuple(
            self._planned(image, fact, planned)
            for image, fact, planned in zip(ask.images, facts, plans, strict=True)
        )
        tokens = draft.text_tokens + sum(image.planned.tokens for image in images)
        fits = tokens + ask.sampling.max_new_tokens <= self._engine.limits.max_context
        count = Count(draft.text_tokens, images, tokens * self._model.kv_bytes_per_token, fits)
        return _Prepared(count, draft)

    def _planned(self, image: ImageInput, facts: ImageFacts, planned: Plan) -> PlannedImage:
        full = self._model.geometry.plan(facts.width, facts.height)
        return PlannedImage(
            image.digest, facts.width, facts.height, planned.max_pixels, planned.planned, full.tokens
        )

    def _check_fit(self, ask: Ask, prepared: _Prepared) -> None:
        check_fit(
            prepared.count.text_tokens,
            [(image.width, image.height, image.max_pixels) for image in prepared.count.images],
            ask.sampling.max_new_tokens,
            self._engine.limits.max_context,
            self._model.geometry,
        )

    def _prompt(self, prepared: _Prepared, layout: RowLayout | None) -> Prompt:
        images = prepared.count.images
        prompt = self._builder.expand(
            prepared.draft,
            [image.planned.grid_thw for image in images],
            keys=[self._key(image, layout) for image in images],
        )
        if len(prompt.images) != len(images):
            raise ImagesMismatch(len(images), len(prompt.images))
        return prompt

    def _key(self, image: PlannedImage, layout: RowLayout | None) -> bytes:
        """What the rows of an image are, for prefix reuse: model, content, plan and row layout."""
        text = f"{self._model.fingerprint}\n{image.digest}\n{image.planned.grid_thw}\n{layout}"
        return hashlib.sha256(text.encode()).digest()

    def _fetches(
        self, count: Count, encoders: Fleet, layout: RowLayout | None, deadline: Deadline
    ) -> list[Fetch]:
        if layout is None:
            return []
        return [
            encoders.fetch(
                RowsWanted(
                    image.digest,
                    image.max_pixels,
                    image.planned.grid_thw,
                    image.planned.tokens,
                    self._model.fingerprint,
                    layout,
                ),
                deadline,
            )
            for image in count.images
        ]

    def _finished(
        self, count: Count, fetches: Sequence[Fetch], layout: RowLayout | None, last: Delta, clock: Clock
    ) -> Finished:
        account = receipt(
            count,
            [fetch.report for fetch in fetches],
            layout.dtype.value if layout else "",
            last.usage,
            last.timings,
            clock,
            self._model.name,
        )
        return Finished(str(last.finish_reason), last.matched_stop or "", account)


async def _locate(images: Sequence[ImageInput], encoders: Fleet, deadline: Deadline) -> list[ImageFacts]:
    """The facts of every image, inline ones stored first; each distinct image once, side by side."""
    distinct = {image.digest: image for image in images}
    found = await _all([_facts(image, encoders, deadline) for image in distinct.values()])
    facts = dict(zip(distinct, found, strict=True))
    return [facts[image.digest] for image in images]


async def _facts(image: ImageInput, encoders: Fleet, deadline: Deadline) -> ImageFacts:
    try:
        return (await encoders.describe(image.digest, deadline)).facts
    except FoveaError as error:
        if error.reason != "IMAGE_NOT_STORED" or image.data is None:
            raise
    return (await encoders.put(image.digest, _whole(image.data), deadline)).facts


async def _all(calls: Sequence[Awaitable[ImageFacts]]) -> list[ImageFacts]:
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
