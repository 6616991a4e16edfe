"""The life of a request: prepare it, build the prompt, fetch rows, run the engine, account.

An image that was asked for is used or the call fails. Leaving the stream early, by cancel or deadline, closes
the engine's iterator, which frees the slot and the KV and closes the row streams.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from decoder_svc.budget.alternatives import alternatives
from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.cost import PrefillCost, PrefillRate
from decoder_svc.budget.planner import check_fit
from decoder_svc.budget.pressure import Pressure
from decoder_svc.budget.tariff import Tariff
from decoder_svc.count import build_alternative, build_count
from decoder_svc.encoders.fanout import RowFanout
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.source import NamedFetch, RowFetch
from decoder_svc.engine.admission import check_sampling
from decoder_svc.engine.protocol import Delta, Engine, EngineRequest, Prompt, RowChunk
from decoder_svc.errors import EncoderChanged
from decoder_svc.images.near_repeats import bounded, thin
from decoder_svc.images.prepare import PreparedRequest, RequestPreparer
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.receipt import AnswerTimes, RequestUsage, build_receipt
from decoder_svc.request import ChatRequest, RequestCost, TokenCost
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.count import Alternative, Count
from fovea.contract.errors import (
    Aborted,
    EngineBusy,
    ImagesMismatch,
    MaxPixelsOutOfRange,
    TooManyImages,
    VisualBudgetExceeded,
)
from fovea.contract.rows import RowDtype, RowLayout
from fovea.deadline import Deadline
from fovea.geometry import Geometry

ATTEMPTS = 3
"""Of a request whose encoder was started again with other settings meanwhile."""

THINNED_AT_ONCE = 2
"""Requests whose near repeats are looked for: each holds the rows of all its images meanwhile."""


@dataclass(frozen=True)
class RequestLimits:
    """What one request may ask for, beside the engine's own limits, and what it is charged."""

    max_images: int
    max_image_bytes: int
    pressure: Pressure
    tariff: Tariff


@dataclass(frozen=True)
class ModelFacts:
    """What is known of the checkpoint without its weights."""

    name: str
    fingerprint: str
    geometry: Geometry
    kv_bytes_per_token: int
    prefill: PrefillCost


class Answerer:
    """Answers requests, each from the encoders that it is given; holds no state of any, only counts them."""

    def __init__(
        self,
        engine: Engine,
        builder: PromptBuilder,
        model: ModelFacts,
        limits: RequestLimits,
    ) -> None:
        self._engine = engine
        self._preparer = RequestPreparer(builder, model.geometry, model.fingerprint)
        self._model = model
        self._limits = limits
        self._rate = PrefillRate()
        self._numbers = itertools.count()
        self._thinning = asyncio.Semaphore(THINNED_AT_ONCE)

    async def count(self, ask: ChatRequest, encoders: Fleet, deadline: Deadline) -> Count:
        """What the request would cost; puts nothing in the engine. Over-long requests are counted too."""
        self._check(ask)
        planned = await self._preparer.prepare(ask, ask.budget, encoders, deadline)
        digests = [image.digest for image in planned.different if image.digest]
        layout = await encoders.layout(digests, deadline)
        placed = await self._preparer.place(planned, layout, encoders, deadline, stored_only=True)
        prepared = bounded(placed, ask.budget.near_repeats or 1.0)
        cost, row_bytes = prepared.cost, (layout or self._own_layout()).row_bytes
        others = self._alternatives(ask, planned, cost, row_bytes)
        prefill_ms = self._rate.ms(cost.prompt_tokens)
        return build_count(prepared, self._load(ask, cost), prefill_ms, row_bytes, others)

    def _own_layout(self) -> RowLayout:
        """The layout of rows in bf16, for a request whose encoders were not asked."""
        shape = self._engine.layout
        return RowLayout(shape.width, shape.levels, RowDtype.BF16)

    async def answer(
        self, ask: ChatRequest, encoders: Fleet, deadline: Deadline
    ) -> AsyncGenerator[Event, None]:
        """One Started, Texts, one Finished. Raises a FoveaError where the request is refused or fails."""
        began = time.monotonic()
        self._check(ask)
        check_sampling(ask.sampling, self._engine.limits)
        if ask.sampling.response_format is not None:
            await self._engine.check_format(ask.sampling.response_format)
        prepared = await self._preparer.prepare(ask, self._budget(ask), encoders, deadline)
        self._check_fit(ask, prepared)
        self._refuse_if_busy()
        accepted = spoken = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with aclosing(self._attempt(ask, prepared, encoders, deadline, began)) as events:
                    async for event in events:
                        if isinstance(event, Started) and accepted:
                            continue
                        accepted, spoken = True, spoken or isinstance(event, Text)
                        yield event
                return
            except EncoderChanged:
                if spoken or attempt == ATTEMPTS:
                    raise

    async def _attempt(
        self, ask: ChatRequest, prepared: PreparedRequest, encoders: Fleet, deadline: Deadline, began: float
    ) -> AsyncGenerator[Event, None]:
        """From the agreement with the encoders on. Raises EncoderChanged where it does not hold."""
        layout = await encoders.layout([image.digest for image in prepared.different], deadline)
        prepared = await self._preparer.place(prepared, layout, encoders, deadline)
        fetches = self._fetches(prepared, encoders, layout, deadline)
        if ask.budget.near_repeats is not None and layout is not None:
            async with self._thinning:
                prepared, fetches = await thin(prepared, fetches, layout, ask.budget.near_repeats)
        prompt = self._preparer.prompt(prepared, layout)
        streams = _streams(prepared, fetches)
        if len(prompt.images) != len(streams):
            raise ImagesMismatch(len(streams), len(prompt.images))
        await self._check_reachable(prepared, prompt, layout, encoders)
        submitted = (time.monotonic() - began) * 1000
        # Callers may give several calls one id, to find them together in the logs; the engine may not.
        request = EngineRequest(f"{ask.id} {next(self._numbers)}", prompt, ask.sampling)
        last: Delta | None = None
        async with aclosing(self._engine.submit(request, streams, layout)) as deltas:
            delta = await anext(deltas, None)  # a busy engine refuses here, while clients may still retry
            yield Started(ask.id, self._model.name, len(prompt.token_ids), prompt.visual_tokens)
            while delta is not None:
                last = delta
                if delta.text or delta.token_ids:
                    yield Text(delta.text, delta.token_ids, delta.logprobs)
                delta = await anext(deltas, None)
        if last is None or last.finish_reason in (None, "abort"):
            raise Aborted(ask.id)
        clock = AnswerTimes(submitted, (time.monotonic() - began) * 1000)
        reports = [fetch.report for fetch in fetches]
        yield self._finished(
            prepared, RequestUsage(prompt, layout, reports, last.usage, last.timings, clock), last
        )

    async def _check_reachable(
        self, prepared: PreparedRequest, prompt: Prompt, layout: RowLayout | None, encoders: Fleet
    ) -> None:
        """Rows that are needed, of an owner that did not answer: refused before anything is sent."""
        if layout is None or not encoders.any_suspect:
            return
        cached = await self._engine.probe(prompt)
        for number, span in zip(prepared.draft.image_indexes, prompt.images, strict=True):
            image = prepared.different[number]
            if span.end > cached and image.thinned is None:  # rows of thinned images are here
                encoders.check_reachable(self._preparer.wanted(image, layout))

    def _check(self, ask: ChatRequest) -> None:
        if len(ask.images) > self._limits.max_images:
            raise TooManyImages(self._limits.max_images, len(ask.images))
        geometry, pixels = self._model.geometry, ask.budget.max_pixels
        if pixels is not None and not geometry.min_pixels <= pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange("visual.max_pixels", geometry.min_pixels, geometry.max_pixels, pixels)

    def _budget(self, ask: ChatRequest) -> ServerBudget:
        """What is asked for, with less detail where the engine is near a limit."""
        steps = self._limits.pressure.steps(self._engine.load(), self._engine.limits.max_waiting)
        return ask.budget.lowered(steps)

    def _refuse_if_busy(self) -> None:
        """Before an encoder computes anything for a request that the engine would turn away."""
        waiting, limit = self._engine.load().waiting, self._engine.limits.max_waiting
        if waiting >= limit:
            raise EngineBusy(limit, waiting, retry_after_s=1.0)

    def _check_fit(self, ask: ChatRequest, prepared: PreparedRequest) -> None:
        """Charges what the images cost at most; what placing their rows saves is given back by that."""
        cost = prepared.cost
        check_fit(
            cost.text_tokens,
            cost.visual_tokens,
            [(image.width, image.height) for image in prepared.images if not image.referred],
            ask.sampling.max_new_tokens,
            self._engine.limits.max_context,
            self._model.geometry,
        )

    def _load(self, ask: ChatRequest, cost: TokenCost) -> RequestCost:
        tokens = cost.prompt_tokens
        return RequestCost(
            tokens * self._model.kv_bytes_per_token,
            self._model.prefill.flops(tokens),
            tokens + ask.sampling.max_new_tokens <= self._engine.limits.max_context,
        )

    def _alternatives(
        self, ask: ChatRequest, planned: PreparedRequest, own: TokenCost, row_bytes: int
    ) -> list[Alternative]:
        """Those whose cost is another one, each cost once."""
        found: dict[TokenCost, Alternative] = {}
        for name, budget in alternatives(ask.budget):
            try:
                other = self._preparer.planned(ask, budget, planned)
            except VisualBudgetExceeded:
                continue
            cost = bounded(other, budget.near_repeats or 1.0).cost
            if cost != own:
                load = self._load(ask, cost)
                found.setdefault(cost, build_alternative(name, budget, cost, load, row_bytes))
        return list(found.values())

    def _fetches(
        self, prepared: PreparedRequest, encoders: Fleet, layout: RowLayout | None, deadline: Deadline
    ) -> Sequence[RowFetch]:
        """One for each different image."""
        if layout is None:
            return []
        return [
            NamedFetch(encoders.fetch(self._preparer.wanted(image, layout), deadline), image.path)
            for image in prepared.different
        ]

    def _finished(self, prepared: PreparedRequest, spent: RequestUsage, last: Delta) -> Finished:
        read = last.usage.prompt_tokens - last.usage.cached_prompt_tokens
        self._rate.note(read, last.timings.prefill_ms)
        account = build_receipt(prepared, spent, self._model.name, self._limits.tariff)
        return Finished(FinishReason(str(last.finish_reason)), last.matched_stop or "", account)


def _streams(prepared: PreparedRequest, fetches: Sequence[RowFetch]) -> list[AsyncIterator[RowChunk]]:
    """One for each place in the prompt; places of one image share its fetch."""
    shown = prepared.draft.image_indexes
    shared = {number: RowFanout(fetches[number]) for number in shown if shown.count(number) > 1}
    return [(shared.get(number) or fetches[number]).chunks() for number in shown]
