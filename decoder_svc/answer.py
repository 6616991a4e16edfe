"""The life of a request: prepare it, build the prompt, fetch rows, run the engine, build the receipt.

Every image of a request is used, or the call fails. Leaving the stream early, by cancel or deadline, closes
the engine's iterator, which frees the slot and the KV blocks and closes the row streams.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from decoder_svc.admission import Admission, Ticket, Work
from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.budget.planner import check_fit
from decoder_svc.budget.pressure import Pressure
from decoder_svc.budget.tariff import Spend, Tariff
from decoder_svc.count import build_count
from decoder_svc.encoders.fanout import RowFanout
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.source import NamedFetch, RowFetch
from decoder_svc.engine.admission import check_sampling
from decoder_svc.engine.protocol import (
    AnswerRules,
    Delta,
    Engine,
    EngineLoad,
    EngineRequest,
    Prompt,
    RowChunk,
)
from decoder_svc.errors import EncoderChanged
from decoder_svc.images.near_repeats import bounded, thin
from decoder_svc.images.prepare import PreparedRequest, RequestPreparer
from decoder_svc.parsing.answer import AnswerParser, ParsedText
from decoder_svc.parsing.rules import wanted_of
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.tools import DEFAULT_LIMITS, ToolLimits, check_tools
from decoder_svc.receipt import NOTHING_USED, RequestUsage, build_receipt, most_spend
from decoder_svc.request import ChatRequest, TokenCost
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.count import Alternative, Count, Quote
from fovea.contract.errors import (
    Aborted,
    MaxPixelsOutOfRange,
    TooManyImages,
    VisualBudgetExceeded,
)
from fovea.contract.receipt import Receipt
from fovea.contract.rows import RowDtype, RowLayout
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.rate import Rate

ATTEMPTS = 3
"""Attempts at a request whose encoder restarts with other settings in the meantime."""

THINNED_AT_ONCE = 2
"""Requests thinned concurrently: each holds the rows of all its images in memory."""


@dataclass(frozen=True)
class ModelFacts:
    """Facts about the checkpoint that do not need its weights.

    `sampling_defaults` are for requests that ask for them. `notice` is for readers of the answers.
    """

    name: str
    fingerprint: str
    geometry: Geometry
    kv_bytes_per_token: int
    prefill: PrefillCost
    sampling_defaults: Mapping[str, float] = field(default_factory=dict)
    notice: str = ""


class Answerer:
    """Answers requests from the encoders of each call. Keeps no state of a request."""

    def __init__(
        self,
        engine: Engine,
        builder: PromptBuilder,
        model: ModelFacts,
        max_images: int,
        pressure: Pressure,
        tariff: Tariff,
        admission: Admission,
        shares_rows: bool = False,
        tool_limits: ToolLimits = DEFAULT_LIMITS,
    ) -> None:
        self._engine = engine
        self._preparer = RequestPreparer(builder, model.geometry, model.fingerprint, shares_rows)
        self._model = model
        self._max_images = max_images
        self._tool_limits = tool_limits
        self._pressure = pressure
        self._tariff = tariff
        self._admission = admission
        self._prefill = Rate()
        self._numbers = itertools.count()
        self._thinning = asyncio.Semaphore(THINNED_AT_ONCE)

    async def count(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Count:
        """Count the cost of a request without submitting it, even of a request longer than the context."""
        self._check(request)
        encoders = encoders.bringing(request.inline)
        planned = await self._preparer.prepare(request, request.budget, encoders, deadline)
        digests = [image.digest for image in planned.distinct if image.digest]
        layout = await encoders.layout(digests, deadline)
        placed = await self._preparer.place(planned, layout, encoders, deadline, stored_only=True)
        prepared = bounded(placed, request.budget.near_repeats or 1.0)
        cost, row_bytes = prepared.cost, (layout or self.row_layout).row_bytes
        others = self._alternatives(planned, cost, row_bytes)
        measures, prefill_ms = (
            self._measures(request, cost, row_bytes),
            1000 * self._prefill.seconds(cost.prompt_tokens),
        )
        return build_count(prepared, measures, prefill_ms, row_bytes, others, self._quote(planned))

    async def prepare(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> PreparedRequest:
        """The request with its images planned. Nothing of it is computed."""
        self._check(request)
        return await self._preparer.prepare(request, request.budget, encoders, deadline)

    def text_tokens(self, text: str) -> int:
        """Tokens of plain text in a prompt."""
        return self._preparer.text_tokens(text)

    def _quote(self, planned: PreparedRequest) -> Quote | None:
        """The most that the request may cost, unsigned; None if an image is given by its size only.

        As at admission, before the pixels decide which rows are kept.
        """
        if not all(image.digest for image in planned.images):
            return None
        most = most_spend(planned, self._tariff)
        return Quote(most.tokens, most.amount, self._tariff.currency)

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        """The most that an answer to the request may spend."""
        return most_spend(await self.prepare(request, encoders, deadline), self._tariff)

    def forget(self, tenant: str, digest: str = "") -> None:
        """Find nothing again that the engine has cached of an image, or of a whole tenant."""
        self._preparer.forget(tenant, digest)

    @property
    def row_layout(self) -> RowLayout:
        """The bf16 row layout of the model."""
        shape = self._engine.shape
        return RowLayout(shape.width, shape.levels, RowDtype.BF16)

    def _receipt(self, used: RequestUsage) -> Receipt:
        """The receipt of what this attempt at a request has used by now."""
        return build_receipt(used, self._tariff)

    async def answer(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        """Yield Started, any number of Text, then Finished. Raises FoveaError on refusal or failure.

        `used` follows what the request uses. Its receipt, of this attempt alone, is valid afterwards, however
        the answer ends.
        """
        try:
            self._check(request)
            check_sampling(request.sampling, self._engine.limits, self._engine.shape.vocab_size)
            work = Work.of(request, self._model.geometry, self._engine.limits.max_context)
            async with (
                self._admission.turn(request.tenant, work, deadline) as ticket,
                aclosing(self._admitted(request, encoders, deadline, used, ticket)) as events,
            ):
                async for event in events:
                    yield event
        finally:
            if used.receipt is NOTHING_USED:
                used.receipt = self._receipt(used)

    async def _admitted(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage, ticket: Ticket
    ) -> AsyncGenerator[Event, None]:
        """Prepare and run a request whose turn it is."""
        encoders = encoders.bringing(request.inline)
        budget = self._budget(request)
        drafted = await self._preparer.draft(request, budget)
        wanted = wanted_of(request, drafted.draft.reasoning)
        if wanted is not None:
            await self._engine.check_format(wanted, request.tenant)
        prepared = await self._preparer.describe(drafted, budget, encoders, deadline)
        used.prepared = prepared
        self._check_fit(prepared)
        most = most_spend(prepared, self._tariff)
        await used.admit(most, self._tariff.currency)
        accepted = spoken = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                attempted = self._attempt(prepared, encoders, deadline, used, ticket)
                async with aclosing(attempted) as events:
                    async for event in events:
                        if isinstance(event, Started) and accepted:
                            continue
                        accepted, spoken = True, spoken or isinstance(event, Text)
                        yield event
                return
            except EncoderChanged:
                if spoken or attempt == ATTEMPTS:
                    raise
                used.receipt = self._receipt(used)
                used.give_up()
                used.prepared = prepared
                if not used.may_spend(most):
                    raise
                await used.admit(most, self._tariff.currency)
                ticket.retake()  # an engine that failed the attempt has freed it

    async def _attempt(
        self,
        prepared: PreparedRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        ticket: Ticket,
    ) -> AsyncGenerator[Event, None]:
        """Run the request from the encoder handshake on. Raises EncoderChanged if the layout has changed."""
        request = prepared.request
        layout = await encoders.layout([image.digest for image in prepared.distinct], deadline)
        prepared = await self._preparer.place(prepared, layout, encoders, deadline)
        fetches = self._fetches(prepared, encoders, layout, deadline)
        used.prepared, used.layout, used.fetches = prepared, layout, fetches
        if request.budget.near_repeats is not None and layout is not None:
            async with self._thinning:
                prepared, fetches = await thin(prepared, fetches, layout, request.budget.near_repeats)
        prompt = self._preparer.prompt(prepared, layout)
        used.prepared, used.prompt, used.fetches = prepared, prompt, fetches
        await self._check_reachable(prepared, prompt, layout, encoders, deadline)
        used.submitted_ms = used.elapsed_ms()
        # Callers may reuse a request id to group calls in the logs; the engine needs unique ids.
        unique = f"{request.id} {next(self._numbers)}"
        wanted = wanted_of(request, prepared.draft.reasoning)
        rules = wanted if isinstance(wanted, AnswerRules) else None
        parser = AnswerParser(request, prepared.draft.reasoning, bool(rules and rules.tools))
        submission = EngineRequest(
            unique, prompt, request.sampling, request.tenant, ticket.free, used.progress, rules=rules
        )
        async with aclosing(self._engine.submit(submission, _streams(prepared, fetches), layout)) as deltas:
            delta = await anext(deltas, None)  # a busy engine refuses here, while the client can still retry
            yield Started(request.id, self._model.name, len(prompt.token_ids), prompt.visual_tokens)
            while delta is not None:
                used.note(delta)
                ticket.progressed(delta)
                parsed = parser.push(delta.text, ends=delta.finish_reason is not None)
                if parsed or delta.token_ids:
                    yield _text(parsed, delta)
                delta = await anext(deltas, None)
        yield self._finished(request, used, parser.called)

    async def _check_reachable(
        self,
        prepared: PreparedRequest,
        prompt: Prompt,
        layout: RowLayout | None,
        encoders: Fleet,
        deadline: Deadline,
    ) -> None:
        """Refuse before Started if rows are needed and no encoder is reachable."""
        if layout is None or not encoders.all_down:
            return
        cached = await self._engine.probe(prompt)
        for number, span in zip(prepared.draft.image_indexes, prompt.images, strict=True):
            image = prepared.distinct[number]
            if span.end > cached and image.thinned is None:  # rows of thinned images are already buffered
                wanted = self._preparer.row_request(prepared.request.tenant, image, layout)
                await encoders.check_reachable(wanted, deadline)

    def _check(self, request: ChatRequest) -> None:
        check_tools(request.tool_use, self._tool_limits)
        if len(request.images) > self._max_images:
            raise TooManyImages(self._max_images, len(request.images))
        geometry, pixels = self._model.geometry, request.budget.max_pixels
        if pixels is not None and not geometry.min_pixels <= pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange("visual.max_pixels", geometry.min_pixels, geometry.max_pixels, pixels)

    def _budget(self, request: ChatRequest) -> ServerBudget:
        """The request's budget, with less detail if the engine is near a limit."""
        steps = self._pressure.steps(self.load(), self._engine.limits.max_waiting)
        return request.budget.lowered(steps)

    def load(self) -> EngineLoad:
        """The engine's load, with the requests that wait for their turn."""
        load = self._engine.load()
        return replace(load, waiting=load.waiting + self._admission.queued)

    def _check_fit(self, prepared: PreparedRequest) -> None:
        """Check the upper bound of the image tokens; locating the rows later can only lower it."""
        cost = prepared.cost
        check_fit(
            cost.text_tokens,
            cost.visual_tokens,
            [image.traits.size for image in prepared.images if not image.referred],
            prepared.request.sampling.token_limit,
            self._engine.limits.max_context,
            self._model.geometry,
        )

    def _measures(self, request: ChatRequest, cost: TokenCost, row_bytes: int) -> dict[str, Any]:
        """The fields that Count and Alternative share; `row_bytes` is the size of a single row."""
        tokens = cost.prompt_tokens
        return {
            "visual_tokens": cost.visual_tokens,
            "visual_tokens_min": cost.visual_tokens_min,
            "exact": cost.visual_tokens == cost.visual_tokens_min,
            "row_bytes": cost.rows * row_bytes,
            "kv_bytes": tokens * self._model.kv_bytes_per_token,
            "prefill_flops": self._model.prefill.flops(tokens),
            "fits_context": tokens + request.sampling.token_limit <= self._engine.limits.max_context,
        }

    def _alternatives(self, planned: PreparedRequest, own: TokenCost, row_bytes: int) -> list[Alternative]:
        """Alternatives that cost more or less than the request; of several with the same cost, the first."""
        by_cost: dict[TokenCost, Alternative] = {}
        request, traits = planned.request, [image.traits for image in planned.distinct]
        for name, budget in request.budget.alternatives():
            try:
                other = self._preparer.planned(planned, traits, budget)
            except VisualBudgetExceeded:
                continue
            cost = bounded(other, budget.near_repeats or 1.0).cost
            if cost != own and cost not in by_cost:
                by_cost[cost] = Alternative(name, budget, **self._measures(request, cost, row_bytes))
        return list(by_cost.values())

    def _fetches(
        self, prepared: PreparedRequest, encoders: Fleet, layout: RowLayout | None, deadline: Deadline
    ) -> Sequence[RowFetch]:
        """A fetch for each distinct image."""
        if layout is None:
            return []
        tenant = prepared.request.tenant
        return [
            NamedFetch(
                encoders.fetch(self._preparer.row_request(tenant, image, layout), deadline), image.path
            )
            for image in prepared.distinct
        ]

    def _finished(self, request: ChatRequest, used: RequestUsage, called: bool) -> Finished:
        """`called`: the answer has tool calls, all of them whole."""
        last = used.last
        if last is None or last.finish_reason in (None, "abort"):
            raise Aborted(request.id)
        read = last.usage.prompt_tokens - last.usage.cached_prompt_tokens
        self._prefill.note(read, last.timings.prefill_ms / 1000)
        used.receipt = self._receipt(used)
        reason = FinishReason(str(last.finish_reason))
        if called and reason is FinishReason.STOP and not last.matched_stop:
            reason = FinishReason.TOOL_CALLS
        return Finished(reason, last.matched_stop or "", used.receipt)


def _text(parsed: ParsedText, delta: Delta) -> Text:
    return Text(
        parsed.text,
        delta.token_ids,
        delta.logprobs,
        delta.token_bytes,
        delta.top_logprobs,
        parsed.reasoning,
        parsed.tool_calls,
    )


def _streams(prepared: PreparedRequest, fetches: Sequence[RowFetch]) -> list[AsyncIterator[RowChunk]]:
    """A stream for each place in the prompt. Places that show the same image share its fetch."""
    shown = prepared.draft.image_indexes
    shared = {number: RowFanout(fetches[number]) for number in shown if shown.count(number) > 1}
    return [(shared.get(number) or fetches[number]).chunks() for number in shown]
