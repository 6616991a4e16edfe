"""From a request to its receipt, with a scripted encoder and an engine that only reads rows.

Each row holds its own index, so that the rows of the engine can be compared with the prompt's positions.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import xxhash

from decoder_svc.admission import Admission, Places, Work
from decoder_svc.answer import THINNED_AT_ONCE, Answerer, ModelFacts
from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.budget.pressure import Pressure
from decoder_svc.budget.tariff import Spend, Tariff
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.engine.protocol import (
    Delta,
    EngineLimits,
    EngineLoad,
    EngineTimings,
    ModelShape,
    Prompt,
    RowChunk,
    Sampling,
    Usage,
)
from decoder_svc.errors import EncoderChanged
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest, ImageInput
from fovea.contract.answer import Event, Finished, Started, Text
from fovea.contract.budget import Detail, RepeatPolicy
from fovea.contract.count import Count, token_count_to_proto
from fovea.contract.errors import AspectTooExtreme, EngineBusy, FoveaError, RowsMismatch
from fovea.contract.receipt import Receipt
from fovea.contract.rows import RowDtype, RowLayout, layout_to_proto
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2
from fovea.geometry import Geometry
from fovea.planning.counting import count_tokens
from fovea.server import status
from fovea.server.fair_queue import QueueLimits
from fovea.vision.v1 import rows_pb2
from tests.decoder.encoders.fakes import EXPECTED, LAYOUT, FakeEncoder, served

GEOMETRY = Geometry(min_pixels=4096)
SIZE = (256, 192)  # 48 tokens
DIGEST = "sha256:" + 64 * "0"
PLACE_MS = 2**-10  # less than the decoder waits, or the receipt shows the wait
TARIFF = Tariff("EUR", text_tokens=1, visual_tokens=2, output_tokens=3, cached_tokens=0, patches=10)


class Placing(FakeEncoder):
    """Drops every other uniform patch, and sends the first rows of a selection."""

    def __init__(self) -> None:
        super().__init__("placing")
        self.calls: list[str] = []
        self.known = True
        self.kept_of_header: list[int] | None = None
        self.stuck_digest = ""

    async def DescribeImage(self, request, context):
        self.calls.append("describe")
        response = await super().DescribeImage(request, context)
        response.facts.size.width, response.facts.size.height = SIZE
        response.facts.text_height, response.facts.kind = 28.0, 1
        return response

    async def PlaceRows(self, request, context):
        self.calls.append("place")
        encoded, sent = self._rows(request.encode.plan)
        header = self._header(request.encode, sent, rows_pb2.ROW_SOURCE_ENCODED)
        if self.kept_of_header is not None:
            header.kept[:] = self.kept_of_header
        if not self.known:
            header.rows, header.kept[:] = header.count.tokens, []
        response = encoder_pb2.PlaceRowsResponse(known=self.known, header=header)
        response.order.extend(encoded if request.order else [])
        response.timings.total_ms = PLACE_MS
        return response

    async def Encode(self, request, context):
        self.calls.append("encode")
        if request.digest == self.stuck_digest:
            await asyncio.Event().wait()
        _, sent = self._rows(request.plan)
        data = np.repeat(np.asarray(sent, "<f4"), LAYOUT.values).tobytes()
        yield encoder_pb2.EncodeResponse(header=self._header(request, sent, rows_pb2.ROW_SOURCE_ROWS))
        check = xxhash.xxh3_64_intdigest(data)
        chunk = rows_pb2.RowChunk(first_row=0, rows=len(sent), data=data, xxh3=check)
        yield encoder_pb2.EncodeResponse(chunk=chunk)
        summary = encoder_pb2.EncodeSummary(rows=len(sent), row_bytes=len(data), rows_digest=DIGEST)
        yield encoder_pb2.EncodeResponse(summary=summary)

    def _rows(self, plan: encoder_pb2.EncodePlan) -> tuple[list[int], list[int]]:
        step = 2 if plan.HasField("flat_tolerance") else 1
        encoded = list(range(0, GEOMETRY.plan(*SIZE, plan.max_pixels).tokens, step))
        keep = plan.rows.keep if plan.rows.HasField("keep") else 1.0
        return encoded, encoded[: int(np.ceil(len(encoded) * keep))]

    def _header(self, request: Any, sent: list[int], source: Any) -> encoder_pb2.EncodeHeader:
        planned = GEOMETRY.plan(*SIZE, request.plan.max_pixels)
        count = token_count_to_proto(count_tokens(SIZE, planned, LAYOUT.row_bytes))
        header = encoder_pb2.EncodeHeader(
            layout=layout_to_proto(LAYOUT), rows=len(sent), count=count, source=source,
            fingerprint=EXPECTED.fingerprint, encoder="placing",
        )  # fmt: skip
        header.kept.extend(sent if len(sent) < count.tokens else [])
        return header


@dataclass
class Reading:
    """An engine that reads all streams concurrently and emits a token."""

    limits: EngineLimits = field(default_factory=lambda: EngineLimits(max_waiting=10))
    shape: ModelShape = field(default_factory=lambda: ModelShape(LAYOUT.width, LAYOUT.levels, 400, 399))
    waiting: int = 0
    prompts: list[Prompt] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)

    def load(self) -> EngineLoad:
        return EngineLoad(0, self.waiting, 0, 100, 0)

    async def check_format(self, wanted: Any, tenant: str) -> None:
        """Takes any."""

    async def submit(
        self, request: Any, rows: Sequence[AsyncIterator[RowChunk]], layout: Any = None
    ) -> AsyncGenerator[Delta, None]:
        self.prompts.append(request.prompt)
        self.rows = list(await asyncio.gather(*(_places_in(stream) for stream in rows)))
        usage = Usage(len(request.prompt.token_ids), 0, 1)
        yield Delta((1,), "x", usage, EngineTimings(prefill_ms=10), "stop")


async def _places_in(stream: AsyncIterator[RowChunk]) -> list[int]:
    values = [np.frombuffer(chunk.data, "<f4").reshape(chunk.rows, -1)[:, 0] async for chunk in stream]
    return [int(place) for value in values for place in value]


@dataclass
class Stage:
    """An answerer, its engine and its only encoder."""

    answerer: Answerer
    engine: Reading
    encoder: Placing
    admission: Admission

    async def _with_fleet(self, use: Callable[[Fleet], Any]) -> Any:
        async with served([self.encoder]):
            peer = RemoteEncoder(self.encoder.address)
            try:
                return await use(Fleet({peer.address: peer}, EXPECTED, "test"))
            finally:
                await peer.close()

    async def answer(self, ask: ChatRequest) -> tuple[Started, Receipt]:
        async def use(fleet: Fleet) -> tuple[Started, Receipt]:
            events = [
                event async for event in self.answerer.answer(ask, fleet, Deadline.after(30), RequestUsage())
            ]
            assert isinstance(events[0], Started)
            assert isinstance(events[-1], Finished)
            return events[0], events[-1].receipt

        return await self._with_fleet(use)

    async def count(self, ask: ChatRequest) -> Count:
        return await self._with_fleet(lambda fleet: self.answerer.count(ask, fleet, Deadline.after(30)))


@pytest.fixture(scope="module")
def builder(checkpoint: Callable[[str], Path]) -> PromptBuilder:
    return PromptBuilder(checkpoint("moe"))


@pytest.fixture
def stage(builder: PromptBuilder) -> Stage:
    engine = Reading()
    model = ModelFacts("m", EXPECTED.fingerprint, GEOMETRY, 10, PrefillCost(100, 10, 5))
    admission = Admission(Places(4, 8, QueueLimits(engine.limits.max_waiting)))
    answerer = Answerer(engine, builder, model, 8, Pressure(0.5, 0.9), TARIFF, admission)  # type: ignore[arg-type]
    return Stage(answerer, engine, Placing(), admission)


def ask(*names: str, size: tuple[int, int] | None = None, **budget: Any) -> ChatRequest:
    """A question about these images. An image without a name has only a size."""
    images = tuple(
        ImageInput(f"sha256:{hashlib.sha256(name.encode()).hexdigest()}")
        if name
        else ImageInput("", size=size)
        for name in names
    )
    parts = (*(ImagePart(at) for at in range(len(images))), TextPart("?"))
    budget.setdefault("max_pixels", 1_310_720)
    return ChatRequest(
        "r", (ChatMessage("user", parts),), images, Sampling(max_new_tokens=4), ServerBudget(**budget)
    )


def steps(receipt: Receipt, place: int = 0) -> list[tuple[str, int, int, str]]:
    return [(step.name, step.before, step.after, step.reason) for step in receipt.images[place].steps]


async def test_a_plain_request_calls_no_place_rows(stage: Stage) -> None:
    started, receipt = await stage.answer(ask("a"))
    assert stage.encoder.calls == ["describe", "encode"]
    assert (started.visual_tokens, steps(receipt), stage.engine.rows) == (48, [], [list(range(48))])
    assert (receipt.images[0].source, receipt.images[0].kind) == ("rows", "TEXT")


async def test_pixel_dependent_rows_are_placed_before_the_prompt(stage: Stage) -> None:
    started, receipt = await stage.answer(ask("a", flat_tolerance=0, keep=0.5))
    assert stage.encoder.calls == ["describe", "place", "encode"]
    kept = list(range(0, 24, 2))
    assert started.visual_tokens == receipt.totals.visual_tokens == 12
    assert stage.engine.rows == [kept]
    (span,) = stage.engine.prompts[0].images
    assert span.kept is not None
    assert list(span.kept) == kept
    assert steps(receipt) == [("flat", 48, 24, "tolerance 0"), ("reduce", 24, 12, "scope 50%")]
    image, totals = receipt.images[0], receipt.totals
    assert (image.source, receipt.stages_ms.encode, totals.encodes) == ("encoded", PLACE_MS, 1)
    assert (totals.patches, totals.naive_patches, totals.naive_visual_tokens) == (96, 192, 48)
    assert totals.row_bytes == 12 * LAYOUT.row_bytes


async def test_the_price_is_that_of_the_tariff_and_of_the_naive_way(stage: Stage) -> None:
    _, receipt = await stage.answer(ask("a", flat_tolerance=0))
    text = receipt.totals.text_tokens
    assert receipt.price.amount == pytest.approx((text + 2 * 24 + 3 + 10 * 96) / 1e6)
    assert receipt.price.naive_amount == pytest.approx((text + 2 * 48 + 3 + 10 * 192) / 1e6)


async def test_prefixes_differ_by_plan_and_kept_indices(stage: Stage) -> None:
    keys = []
    for budget in ({}, {"flat_tolerance": 0}, {"flat_tolerance": 1}, {"keep": 0.5}):
        await stage.answer(ask("a", **budget))
        keys.append(stage.engine.prompts[-1].images[0].key)
    assert len(set(keys)) == 4


@pytest.mark.parametrize("kept", [[4, 2], [2, 2], [48], list(range(24, 0, -1)), list(range(5))])
async def test_kept_indices_outside_of_the_image_are_refused(stage: Stage, kept: list[int]) -> None:
    stage.encoder.kept_of_header = kept
    with pytest.raises(RowsMismatch):
        await stage.answer(ask("a", flat_tolerance=0))


async def test_an_encoder_without_kept_indices_is_refused(stage: Stage) -> None:
    stage.encoder.known = False
    with pytest.raises(RowsMismatch):
        await stage.answer(ask("a", flat_tolerance=0))


async def test_a_repeated_image_is_fetched_once(stage: Stage) -> None:
    started, receipt = await stage.answer(ask("a", "b", "a", flat_tolerance=0))
    assert sorted(stage.encoder.calls) == ["describe"] * 2 + ["encode"] * 2 + ["place"] * 2
    assert started.visual_tokens == 72
    assert stage.engine.rows == [list(range(0, 48, 2))] * 3
    first, _, again = receipt.images
    assert (first.repeat_of, again.repeat_of) == (None, 0)
    assert (first.tokens, again.tokens) == (24, 24)
    assert (first.source, again.source, again.wire_bytes) == ("encoded", "rows", 0)
    assert (receipt.totals.encodes, receipt.totals.row_bytes) == (2, 48 * LAYOUT.row_bytes)
    assert receipt.totals.wire_bytes == 48 * LAYOUT.row_bytes


async def test_a_later_copy_can_become_a_line_of_text(stage: Stage, builder: PromptBuilder) -> None:
    started, receipt = await stage.answer(ask("a", "b", "a", repeat_policy=RepeatPolicy.REFERENCE))
    assert started.visual_tokens == 96
    text = builder.tokenizer.decode([int(token) for token in stage.engine.prompts[0].token_ids])
    assert "(the same image as image 1) ?" in text
    again = receipt.images[2]
    assert (again.tokens, again.source, again.repeat_of, again.wire_bytes) == (0, "none", 0, 0)
    assert steps(receipt, 2) == [("repeat", 48, 0, "the same as image 1")]


async def test_under_pressure_images_lose_detail_and_the_receipt_says_so(stage: Stage) -> None:
    _, calm = await stage.answer(ask("a", min_detail=Detail.AUTO))
    stage.engine.waiting = 5
    _, pressed = await stage.answer(ask("a", min_detail=Detail.AUTO))
    _, kept = await stage.answer(ask("a"))
    assert [receipt.degraded for receipt in (calm, pressed, kept)] == [False, True, False]
    assert steps(pressed) == [("resize", 48, 12, "pressure: detail auto: text 28 px")]
    assert (calm.images[0].tokens, kept.images[0].tokens) == (48, 48)


async def test_a_call_that_is_left_at_its_last_token_has_spent_the_whole_answer(stage: Stage) -> None:
    used = RequestUsage()

    async def leave(fleet: Fleet) -> None:
        answer = stage.answerer.answer(ask("a"), fleet, Deadline.after(30), used)
        async with aclosing(answer) as events:
            async for event in events:
                if isinstance(event, Text):
                    return

    await stage._with_fleet(leave)
    assert used.finish_reason == "stop"
    totals = used.receipt.totals
    assert (totals.visual_tokens, totals.output_tokens, totals.encodes) == (48, 1, 0)
    assert totals.wire_bytes == totals.row_bytes > 0


async def test_a_call_that_is_cut_while_it_compares_images_has_spent_their_rows(stage: Stage) -> None:
    """The second of two frames never arrives."""
    used, asked = RequestUsage(), ask("a", "b", near_repeats=0.4)
    stage.encoder.stuck_digest = asked.images[1].digest

    async def cut(fleet: Fleet) -> None:
        answer = stage.answerer.answer(asked, fleet, Deadline.after(30), used)
        waiting = asyncio.create_task(anext(answer))
        async with asyncio.timeout(30):
            while not (used.fetches and used.fetches[0].report.row_bytes):
                await asyncio.sleep(0.01)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting

    await stage._with_fleet(cut)
    assert used.receipt.totals.wire_bytes > 0
    assert [image.wire_bytes > 0 for image in used.receipt.images] == [True, False]


async def test_few_requests_at_once_hold_the_rows_of_all_their_images(stage: Stage) -> None:
    """Thinning needs every row of a request. The second image of each of these never arrives."""
    asked = ask("a", "b", near_repeats=0.4)
    stage.encoder.stuck_digest = asked.images[1].digest

    async def use(fleet: Fleet) -> list[str]:
        async def answer(asked: ChatRequest) -> None:
            async for _ in stage.answerer.answer(asked, fleet, Deadline.after(60), RequestUsage()):
                pass

        held = [asyncio.create_task(answer(asked)) for _ in range(THINNED_AT_ONCE + 2)]
        async with asyncio.timeout(30):
            while stage.encoder.calls.count("encode") < 2 * THINNED_AT_ONCE:
                await asyncio.sleep(0.01)
            await answer(ask("c"))
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        return stage.encoder.calls

    calls = await stage._with_fleet(use)
    assert calls.count("encode") == 2 * THINNED_AT_ONCE + 1


async def test_a_full_queue_refuses_before_any_encode(stage: Stage) -> None:
    async with AsyncExitStack() as held:
        for _ in range(stage.admission.places.most):
            await held.enter_async_context(stage.admission.turn("t", Work(1, 1), Deadline.after(30)))
        waiting = stage.engine.limits.max_waiting - stage.admission.outside
        turns = [asyncio.create_task(_take_turn(stage.admission)) for _ in range(waiting)]
        await asyncio.sleep(0)
        with pytest.raises(EngineBusy) as refused:
            await stage.answer(ask("a", flat_tolerance=0))
        assert (refused.value.field, refused.value.limit, refused.value.actual) == ("max_waiting", 10, 11)
    await asyncio.gather(*turns)
    assert stage.encoder.calls == []


async def test_a_request_that_is_computed_again_holds_its_place_again(stage: Stage) -> None:
    """The engine has freed the place of the attempt that failed."""
    passed: list[int] = []

    class Restarted(Reading):
        async def submit(
            self, request: Any, rows: Sequence[AsyncIterator[RowChunk]], layout: Any = None
        ) -> AsyncGenerator[Delta, None]:
            passed.append(stage.admission.passed)
            if len(passed) == 1:
                request.on_computed()
                raise EncoderChanged("restarted")
            async for delta in super().submit(request, rows, layout):
                yield delta

    stage.answerer._engine = Restarted()
    await stage.answer(ask("a"))
    assert passed == [1, 1]
    assert stage.admission.passed == 0


class ChangedOnce(Reading):
    """Reads part of a prompt, then learns that the encoder has changed; reads the next prompt in full."""

    async def submit(
        self, request: Any, rows: Sequence[AsyncIterator[RowChunk]], layout: Any = None
    ) -> AsyncGenerator[Delta, None]:
        if not self.prompts:
            self.prompts.append(request.prompt)
            request.progress.prompt_tokens = 10
            raise EncoderChanged("restarted")
        async for delta in super().submit(request, rows, layout):
            yield delta


async def test_what_an_attempt_with_a_changed_encoder_has_spent_is_on_the_receipt(stage: Stage) -> None:
    """It has read 10 tokens of the prompt, and reserves them beside another whole attempt."""
    stage.answerer._engine = ChangedOnce()  # type: ignore[assignment]
    reserved: list[Spend] = []

    async def reserve(most: Spend) -> None:
        reserved.append(most)

    used = RequestUsage(reserve=reserve)
    await stage._with_fleet(lambda fleet: _events(stage, fleet, used))
    last, total = used.receipt.totals, used.total().totals
    assert used.given_up[0].price.amount > 0
    assert total.text_tokens + total.visual_tokens == last.text_tokens + last.visual_tokens + 10
    assert used.total().price.amount == used.given_up[0].price.amount + used.receipt.price.amount
    assert [each.tokens for each in reserved] == [reserved[0].tokens, 10]


async def test_an_attempt_that_a_quote_does_not_cover_is_not_made_again(stage: Stage) -> None:
    stage.answerer._engine = engine = ChangedOnce()  # type: ignore[assignment]
    count = await stage.count(ask("a"))
    assert count.quote is not None
    used = RequestUsage(quote=Spend(count.quote.max_tokens, count.quote.max_amount))
    with pytest.raises(EncoderChanged):
        await stage._with_fleet(lambda fleet: _events(stage, fleet, used))
    assert len(engine.prompts) == 1
    spent = used.total()
    assert spent.totals.text_tokens + spent.totals.visual_tokens == 10
    assert spent.price.amount <= count.quote.max_amount


async def _events(stage: Stage, fleet: Fleet, used: RequestUsage) -> list[Event]:
    answer = stage.answerer.answer(ask("a"), fleet, Deadline.after(30), used)
    return [event async for event in answer]


async def test_a_quote_covers_what_is_admitted_although_the_pixels_leave_fewer_rows(stage: Stage) -> None:
    """At admission the kept rows are not known yet, so the quote is for all of them."""
    request = ask("a", flat_tolerance=0, keep=0.5)
    count = await stage.count(request)
    assert count.quote is not None
    assert count.quote.max_tokens > count.prompt_tokens + 4
    used = RequestUsage(quote=Spend(count.quote.max_tokens, count.quote.max_amount))

    async def answered(fleet: Fleet) -> list[Event]:
        answer = stage.answerer.answer(request, fleet, Deadline.after(30), used)
        return [event async for event in answer]

    assert isinstance((await stage._with_fleet(answered))[-1], Finished)


def test_the_estimate_of_a_prompt_is_at_most_the_context() -> None:
    """32 large images are refused for their length; they must not fill the queue meanwhile."""
    work = Work.of(ask(*"abcdefgh"), GEOMETRY, max_context=1000)
    assert (work.prompt_tokens, work.images) == (1000, 8)
    assert Work.of(ask("a"), GEOMETRY, max_context=8192).prompt_tokens < 1300


async def _take_turn(admission: Admission) -> None:
    async with admission.turn("t", Work(1, 1), Deadline.after(30)):
        pass


async def test_near_repeats_are_thinned_by_their_rows_and_only_on_request(stage: Stage) -> None:
    """All images have equal rows, so later images add nothing."""
    names, share = ("a", "b", "c"), 0.4
    started, receipt = await stage.answer(ask(*names, near_repeats=share))
    assert started.visual_tokens == 50
    assert [image.tokens for image in receipt.images] == [48, 1, 1]
    assert steps(receipt, 1) == [("near_repeats", 48, 1, "40%")]
    assert [len(rows) for rows in stage.engine.rows] == [48, 1, 1]
    for span, rows in zip(stage.engine.prompts[0].images, stage.engine.rows, strict=True):
        assert span.kept is not None
        assert list(span.kept) == rows
    assert stage.encoder.calls.count("encode") == 3
    counted = await stage.count(ask(*names, near_repeats=share))
    assert (counted.visual_tokens, counted.visual_tokens_min) == (144, 50)


@pytest.mark.parametrize(
    ("frames", "tokens", "encodes", "texts"),
    [
        ("aaaa", [48, 0, 0, 0], 1, ["(unchanged) (unchanged) (unchanged) ?"]),
        ("aabb", [48, 0, 1, 0], 2, ["(unchanged) ", "(unchanged) ?"]),
        ("abab", [48, 1, 0, 0], 2, ["(the same image as image 1) (the same image as image 2) ?"]),
        ("abca", [48, 1, 1, 0], 3, ["(the same image as image 1) ?"]),
    ],
)
async def test_an_equal_frame_of_a_sequence_costs_no_visual_token(
    stage: Stage, builder: PromptBuilder, frames: str, tokens: list[int], encodes: int, texts: list[str]
) -> None:
    """The frames have equal rows, so that each keeps a single row. A copy keeps none."""
    started, receipt = await stage.answer(ask(*frames, near_repeats=0.9))
    assert [image.tokens for image in receipt.images] == tokens
    assert started.visual_tokens == receipt.totals.visual_tokens == sum(tokens)
    assert stage.encoder.calls.count("encode") == encodes
    assert receipt.totals.row_bytes == sum(tokens) * LAYOUT.row_bytes
    for image in receipt.images:
        for step, following in pairwise(image.steps):
            assert step.after == following.before
        assert image.tokens == (image.steps[-1].after if image.steps else image.tokens_full)
    written = builder.tokenizer.decode([int(token) for token in stage.engine.prompts[0].token_ids])
    for text in texts:
        assert text in written
    counted = await stage.count(ask(*frames, near_repeats=0.9))
    assert counted.visual_tokens_min == sum(tokens)
    assert counted.text_tokens == receipt.totals.text_tokens


async def test_alternatives_treat_equal_frames_as_the_request_does(stage: Stage) -> None:
    counted = await stage.count(ask("a", "a", near_repeats=0.5))
    assert counted.alternatives
    token_bytes = counted.kv_bytes // counted.prompt_tokens
    for other in counted.alternatives:
        again = await stage.count(replace(ask("a", "a"), budget=other.budget))
        assert other.kv_bytes == (again.text_tokens + other.visual_tokens) * token_bytes
        assert other.visual_tokens_min <= again.visual_tokens <= other.visual_tokens


class ImageNotStored(FoveaError):
    code = grpc.StatusCode.NOT_FOUND
    reason = "IMAGE_NOT_STORED"


class Forgetful(Placing):
    """Does not store some images, or evicts them after describing them."""

    def __init__(self, unknown: str, once_encoded: bool) -> None:
        super().__init__()
        self.unknown, self.once_encoded = (
            f"sha256:{hashlib.sha256(unknown.encode()).hexdigest()}",
            once_encoded,
        )

    async def DescribeImage(self, request, context):
        if not self.once_encoded:
            await self._refuse(request.digest, context)
        return await super().DescribeImage(request, context)

    async def Encode(self, request, context):
        await self._refuse(request.digest, context)
        async for message in super().Encode(request, context):
            yield message

    async def _refuse(self, digest, context):
        if digest == self.unknown:
            await status.abort(context, ImageNotStored("not stored"), "r")


@pytest.mark.parametrize("once_encoded", [False, True])
async def test_an_image_that_fails_is_named_by_its_place_in_the_request(
    stage: Stage, once_encoded: bool
) -> None:
    stage.encoder = Forgetful("b", once_encoded)
    asked = ask("a", "b", "c")
    images = tuple(
        replace(image, path=f"messages[0].parts[{at}].image") for at, image in enumerate(asked.images)
    )
    with pytest.raises(FoveaError) as caught:
        await stage.answer(replace(asked, images=images))
    assert caught.value.reason == "IMAGE_NOT_STORED"
    assert [violation.field for violation in caught.value.violations] == ["messages[0].parts[1].image"]


async def test_an_impossible_size_is_named_by_its_path(stage: Stage) -> None:
    asked = ask("", size=(1, 300))
    image = replace(asked.images[0], path="messages[0].parts[0].image")
    with pytest.raises(AspectTooExtreme) as caught:
        await stage.count(replace(asked, images=(image,)))
    assert caught.value.violations[0].field == "messages[0].parts[0].image"
    assert caught.value.metadata["actual"] == "300.0"


async def test_a_size_can_be_counted_and_what_depends_on_pixels_has_bounds(stage: Stage) -> None:
    exact = await stage.count(ask("", size=(640, 480), keep=0.5))
    assert (exact.visual_tokens, exact.exact) == (150, True)
    bounded = await stage.count(ask("", "", size=(640, 480), flat_tolerance=0))
    assert (bounded.visual_tokens, bounded.visual_tokens_min) == (600, 2)
    row_bytes = RowLayout(LAYOUT.width, LAYOUT.levels, RowDtype.BF16).row_bytes
    assert bounded.row_bytes == 600 * row_bytes  # two sizes are not one image twice
    assert stage.encoder.calls == []


async def test_a_stored_image_is_counted_exactly_or_within_bounds(stage: Stage) -> None:
    counted = await stage.count(ask("a", flat_tolerance=0))
    assert (counted.visual_tokens, counted.exact) == (24, True)
    assert counted.row_bytes == 24 * LAYOUT.row_bytes, "in the dtype of the encoder, not in bf16"
    stage.encoder.known = False
    bounded = await stage.count(ask("a", flat_tolerance=0))
    assert (bounded.visual_tokens, bounded.visual_tokens_min) == (48, 1)
    assert bounded.plans[0].steps[0].after == 48


async def test_alternatives_are_those_that_cost_something_else(stage: Stage) -> None:
    counted = await stage.count(ask("a"))
    told = {
        alternative.name: (alternative.visual_tokens, alternative.exact)
        for alternative in counted.alternatives
    }
    assert told == {
        "detail auto": (12, True), "economy": (36, True), "strong": (24, True), "flat": (48, False)
    }  # fmt: skip
    strong = next(alternative for alternative in counted.alternatives if alternative.name == "strong")
    again = await stage.count(ChatRequest("r", ask("a").messages, ask("a").images, Sampling(), strong.budget))
    for name in ("visual_tokens", "visual_tokens_min", "row_bytes", "kv_bytes"):
        assert getattr(again, name) == getattr(strong, name)


async def test_prefill_time_follows_recent_answers(stage: Stage) -> None:
    assert (await stage.count(ask("a"))).prefill_ms == 0
    await stage.answer(ask("a"))
    counted = await stage.count(ask("a", "a"))
    read = len(stage.engine.prompts[0].token_ids)
    assert counted.prefill_ms == pytest.approx(10 / read * counted.prompt_tokens)
    assert counted.prefill_flops == PrefillCost(100, 10, 5).flops(counted.prompt_tokens)


async def test_prompts_of_two_tenants_share_no_key(stage: Stage) -> None:
    """Neither the text nor the image of one tenant may be a prefix hit of the other, nor of what was deleted."""
    asked = ask("a")
    for tenant in ("acme", "acme", "other"):
        await stage.answer(replace(asked, tenant=tenant))
    stage.answerer.forget("acme", asked.images[0].digest)
    await stage.answer(replace(asked, tenant="acme"))
    stage.answerer.forget("acme")
    await stage.answer(replace(asked, tenant="acme"))
    first, again, other, deleted, purged = [(p.salt, p.images[0].key) for p in stage.engine.prompts]
    assert first == again
    assert len({first[0], other[0], purged[0]}) == len({first[1], other[1], deleted[1], purged[1]}) - 1 == 3
    assert deleted[0] == first[0], "the deletion of an image leaves the tenant's other text and images cached"
