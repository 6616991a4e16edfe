"""Exact answers: only for a request that repeats another in full, within bounds, until a deletion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.prompt.messages import ChatMessage, TextPart
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest, ImageInput
from decoder_svc.tiers.exact import ENTRY_BYTES, NOT_OF_THE_KEY, ExactSettings, ExactTier, request_key
from decoder_svc.tiers.tier import Answers
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text, TokenLogprob
from fovea.contract.budget import Detail, OnOverBudget, ReductionMode, RepeatPolicy
from fovea.contract.image import ImageKind
from fovea.contract.plan import Reducer
from fovea.contract.receipt import ImageReceipt, Price, Receipt, Stages, Step, Totals
from fovea.contract.rows import RowOrigin
from fovea.contract.sampling import ResponseFormat, Sampling
from fovea.contract.tools import Tool, ToolCall, ToolCallDelta, ToolChoice, ToolMode, ToolUse
from fovea.deadline import Deadline
from tests.decoder.tiers.fakes import KnownImages, Scripted, answered, ask, events_of, router

IMAGES = KnownImages({"a": ImageKind.TEXT, "b": ImageKind.PHOTO})
FIRST = ImageReceipt(
    "a", (9, 9), (8, 8), (1, 2, 2), 4, 50, 40, (Step("resize", 50, 40, "fit"),), RowOrigin.ENCODED
)


@dataclass
class Model(Scripted):
    """Counts its answers; each has another text, so that a repeated text comes from the cache."""

    degraded: bool = False
    go: asyncio.Event | None = None
    computes: ClassVar[bool] = True

    async def answer(
        self, request: ChatRequest, encoders: Any, deadline: Deadline, used: RequestUsage, following: Answers
    ) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        yield Started(request.id, "m", 7, 5)
        yield Text(f"answer {len(self.requests)}", (1, 2), (-0.5, -0.25), (b"a", b""), (TOP, TOP))
        if self.go is not None:
            await self.go.wait()
        totals = Totals(40, 50, 7, 3, 2, 1, 99, 98, 16, 20)
        price = Price(1.5, "EUR", 2.0)
        receipt = Receipt((FIRST,), totals, Stages(), price=price, degraded=self.degraded)
        yield Finished(FinishReason.LENGTH, "", receipt)


TOP = (TokenLogprob(1, -0.5, b"a"),)
DEFAULTS = ExactSettings()


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def text_of(tiers: tuple[ExactTier, Model], request: ChatRequest) -> str:
    return (await answered(router(*tiers), request, images=IMAGES))[0]


def cached(settings: ExactSettings = DEFAULTS, **model: Any) -> tuple[ExactTier, Model]:
    return ExactTier("cache", settings), Model("large", **model)


async def test_a_repeated_request_is_answered_without_a_model_and_its_receipt_says_so() -> None:
    tiers, used = cached(), RequestUsage()
    first = await events_of(router(*tiers), ask("a"), images=IMAGES)
    events = await events_of(router(*tiers), ask("a", id="r2"), used, IMAGES)
    assert events[:2] == [replace(first[0], request_id="r2"), first[1]]
    (finished,) = events[2:]
    assert isinstance(finished, Finished)
    receipt = finished.receipt
    assert finished.finish_reason is FinishReason.LENGTH
    assert receipt.totals == Totals(naive_visual_tokens=50, naive_patches=20)
    assert receipt.price == Price(0.0, "EUR", 2.0)
    assert (receipt.tier.path, receipt.tier.reasons) == (("cache",), ("answered before by large",))
    (image,) = receipt.images
    assert (image.tokens, image.source, image.steps[-1]) == (
        0,
        RowOrigin.NONE,
        Step("exact", 40, 0, "answered before"),
    )
    assert (used.model, used.answered, len(tiers[1].requests)) == ("m", "length", 1)
    assert [figure.read() for figure in tiers[0].figures[:2]] == [1, 1]


async def test_only_answers_at_temperature_0_are_kept() -> None:
    for sampling, kept in (
        (Sampling(temperature=0.7, seed=1), False),
        (Sampling(temperature=0.005), True),
        (Sampling(temperature=1.0, top_k=1), True),
    ):
        tiers = cached()
        texts = [await text_of(tiers, ask(sampling=sampling)) for _ in range(2)]
        assert (len(set(texts)) == 1) is kept


async def test_an_answer_with_lowered_detail_is_not_kept() -> None:
    tiers = cached(degraded=True)
    assert [await text_of(tiers, ask()) for _ in range(2)] == ["answer 1", "answer 2"]


FORMATS = st.sampled_from(
    [ResponseFormat.regex("a+"), ResponseFormat.choice("a+"), ResponseFormat.json_schema("{}")]
)
SAMPLING: dict[str, st.SearchStrategy[Any]] = {
    "temperature": st.floats(0.0001, 0.009),
    "top_p": st.floats(0.1, 0.99),
    "top_k": st.just(1),
    "min_p": st.floats(0.01, 0.5),
    "repetition_penalty": st.floats(1.01, 2),
    "seed": st.integers(0, 9),
    "stop": st.lists(st.text(min_size=1), min_size=1, max_size=2).map(tuple),
    "max_new_tokens": st.integers(1, 99),
    "ignore_eos": st.just(True),
    "response_format": FORMATS,
    "logprobs": st.just(True),
    "top_logprobs": st.integers(1, 20),
    "presence_penalty": st.floats(0.1, 2),
    "frequency_penalty": st.floats(0.1, 2),
    "logit_bias": st.dictionaries(st.integers(0, 9), st.floats(-5, 5), min_size=1),
    "checkpoint_defaults": st.just(True),
    "explicit": st.just(frozenset({"temperature"})),
}
BUDGET: dict[str, st.SearchStrategy[Any]] = {
    "max_pixels": st.integers(4096, 99999),
    "max_visual_tokens": st.integers(1, 99),
    "detail": st.sampled_from(Detail),
    "min_detail": st.sampled_from(Detail),
    "on_over_budget": st.sampled_from(OnOverBudget),
    "repeat_policy": st.sampled_from(RepeatPolicy),
    "keep": st.floats(0.1, 0.9),
    "reduction": st.sampled_from(ReductionMode),
    "reducer": st.sampled_from(Reducer),
    "flat_tolerance": st.integers(0, 32),
    "near_repeats": st.floats(0.1, 0.9),
    "min_tokens": st.integers(1, 9),
    "max_short_side": st.integers(1, 999),
    "max_long_side": st.integers(1, 999),
    "readable_text_px": st.floats(11, 20),
    "pressed": st.sampled_from(Detail),
}
REQUEST: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.text().filter("?".__ne__).map(lambda text: (ChatMessage("user", (TextPart(text),)),)),
    "images": st.sampled_from([(ImageInput("b"),), (), (ImageInput("a"), ImageInput("b"))]),
    "sampling": st.one_of(
        *({name: st.builds(Sampling, **{name: value}) for name, value in SAMPLING.items()}.values())
    ),
    "budget": st.one_of(*(st.builds(ServerBudget, **{name: value}) for name, value in BUDGET.items())),
    "tenant": st.text().filter("default".__ne__),
    "hop_limit": st.integers(1, 9),
    "allow_text_substitution": st.just(True),
    "read_images": st.just(("b",)),
    "tool_use": st.sampled_from(
        [
            ToolUse((Tool("a"),)),
            ToolUse((Tool("a", "b"),)),
            ToolUse((Tool("a", "", "{}"),)),
            ToolUse((Tool("a", strict=True),)),
            ToolUse((Tool("a"), Tool("b"))),
            ToolUse((Tool("a"),), ToolChoice.named("a")),
            ToolUse((Tool("a"),), ToolChoice(ToolMode.REQUIRED)),
            ToolUse((Tool("a"),), parallel=False),
        ]
    ),
    "thinking": st.booleans(),
    "continue_final": st.just(True),
}


def test_the_strategies_flip_every_field_that_a_key_must_hold() -> None:
    assert REQUEST.keys() | NOT_OF_THE_KEY == {field.name for field in fields(ChatRequest)}
    assert SAMPLING.keys() == {field.name for field in fields(Sampling)}
    assert BUDGET.keys() == {field.name for field in fields(ServerBudget)}


@hypothesis.settings(deadline=None)
@given(st.sampled_from(sorted(REQUEST)).flatmap(lambda name: REQUEST[name].map(lambda value: {name: value})))
def test_a_request_that_differs_in_one_field_is_never_answered_by_the_answer_to_the_other(
    change: dict[str, Any],
) -> None:
    async def both() -> list[str]:
        tiers = cached()
        return [await text_of(tiers, request) for request in (BASE, replace(BASE, **change), BASE)]

    assert asyncio.run(both()) == ["answer 1", "answer 2", "answer 1"]


BASE = ask("a")


def test_the_parts_of_a_turn_with_tool_calls_are_of_the_key() -> None:
    said = ChatMessage("assistant", (TextPart("x"),), (ToolCall("1", "a", "{}"),), reasoning="r")
    turns = [
        said,
        replace(said, reasoning=""),
        replace(said, tool_calls=()),
        replace(said, tool_calls=(ToolCall("1", "a", "{ }"),)),
        ChatMessage("tool", (TextPart("x"),), tool_call_id="1"),
        ChatMessage("tool", (TextPart("x"),), tool_call_id="2"),
    ]
    assert len({request_key(ask(messages=(turn,))) for turn in turns}) == len(turns)


async def test_a_repeated_answer_has_its_reasoning_and_its_whole_tool_calls() -> None:
    calls = (
        ToolCallDelta(0, "id", "a", '{"x": '),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "ie", "b", "{}"),
    )
    tiers = ExactTier("cache"), Calling("large", calls=calls)
    await events_of(router(*tiers), ask("a"), images=IMAGES)
    events = await events_of(router(*tiers), ask("a"), images=IMAGES)
    assert events[1] == Text(
        "said",
        reasoning="r",
        tool_calls=(ToolCallDelta(0, "id", "a", '{"x": 1}'), ToolCallDelta(1, "ie", "b", "{}")),
    )
    assert events[-1].finish_reason is FinishReason.TOOL_CALLS  # type: ignore[union-attr]


@dataclass
class Calling(Scripted):
    """Answers with parts of tool calls."""

    calls: tuple[ToolCallDelta, ...] = ()
    computes: ClassVar[bool] = True

    async def answer(
        self, request: ChatRequest, encoders: Any, deadline: Deadline, used: RequestUsage, following: Answers
    ) -> AsyncGenerator[Event, None]:
        yield Started(request.id, "m", 7, 5)
        yield Text("said", reasoning="r")
        for call in self.calls:
            yield Text("", tool_calls=(call,))
        yield Finished(FinishReason.TOOL_CALLS, "", Receipt((), Totals(), Stages()))


def test_the_order_of_biases_is_not_part_of_the_key() -> None:
    biases = {5: 1.0, 3: 2.0}
    keys = {
        request_key(ask(sampling=Sampling(logit_bias=dict(items))))
        for items in (biases.items(), reversed(biases.items()))
    }
    assert len(keys) == 1


def test_the_text_of_a_message_cannot_imitate_other_parts() -> None:
    """The key frames every part."""

    def key(*texts: str) -> bytes:
        return request_key(ask(messages=(ChatMessage("user", tuple(map(TextPart, texts))),)))

    keys = {key("a", "b"), key("ab"), key("a'), TextPart(text='b"), key("a\nb"), key("", "ab")}
    assert len(keys) == 5


async def test_an_answer_expires() -> None:
    clock = Clock()
    tiers = (ExactTier("cache", ExactSettings(expiry_s=60), clock), Model("large"))
    assert await text_of(tiers, ask()) == "answer 1"
    clock.now = 59.9
    assert await text_of(tiers, ask()) == "answer 1"
    clock.now = 60.0
    assert await text_of(tiers, ask()) == "answer 2"


def bounded(entries: float, share: float = 1.0) -> tuple[ExactTier, Model]:
    """A cache for so many answers of these tests."""
    return cached(ExactSettings(int(entries * (ENTRY_BYTES + 2048 + 200)), 600, share))


async def test_the_least_recently_used_answer_makes_room() -> None:
    tiers = bounded(2.5)
    for text in ("x", "y", "x", "z"):
        await text_of(tiers, ask(text=text))
    cache = tiers[0].cache
    assert cache.used_bytes <= cache._settings.max_bytes
    assert cache.evictions == 1
    assert await text_of(tiers, ask(text="x")) == "answer 1"
    assert await text_of(tiers, ask(text="y")) == "answer 4"


async def test_a_tenant_evicts_its_own_answers_beyond_its_share() -> None:
    tiers = bounded(5.0, share=0.5)
    await text_of(tiers, ask(text="kept", tenant="other"))
    for number in range(9):
        await text_of(tiers, ask(text=str(number), tenant="flood"))
    assert await text_of(tiers, ask(text="kept", tenant="other")) == "answer 1"
    cache = tiers[0].cache
    assert cache._bytes["flood"] <= cache._settings.max_bytes / 2


async def test_an_answer_above_the_share_is_not_kept() -> None:
    tiers = bounded(0.5)
    assert [await text_of(tiers, ask()) for _ in range(2)] == ["answer 1", "answer 2"]
    assert tiers[0].cache.used_bytes == 0


Forget = Callable[[ExactTier], None]
FORGETS: dict[str, tuple[Forget, bool]] = {
    "image": (lambda tier: tier.forget("default", "a"), True),
    "tenant": (lambda tier: tier.forget("default"), True),
    "another image": (lambda tier: tier.forget("default", "b"), False),
    "image of another tenant": (lambda tier: tier.forget("other", "a"), False),
    "another tenant": (lambda tier: tier.forget("other"), False),
}


@pytest.mark.parametrize("name", FORGETS)
async def test_a_deletion_drops_the_answers_about_the_image_or_the_tenant(name: str) -> None:
    forget, gone = FORGETS[name]
    tiers = cached()
    await text_of(tiers, BASE)
    forget(tiers[0])
    assert await text_of(tiers, BASE) == ("answer 2" if gone else "answer 1")


async def test_a_deletion_drops_the_answers_about_an_image_that_was_read_as_text() -> None:
    tiers, about_text = cached(), ask(read_images=("b",))
    await text_of(tiers, about_text)
    tiers[0].forget("default", "a")
    assert await text_of(tiers, about_text) == "answer 1"
    tiers[0].forget("default", "b")
    assert await text_of(tiers, about_text) == "answer 2"


@pytest.mark.parametrize("name", FORGETS)
async def test_an_answer_that_is_computed_during_a_deletion_is_not_kept(name: str) -> None:
    forget, gone = FORGETS[name]
    tiers = cached(go=asyncio.Event())
    first = asyncio.create_task(text_of(tiers, BASE))
    while not tiers[0].cache._coming:
        await asyncio.sleep(0)
    forget(tiers[0])
    assert tiers[1].go is not None
    tiers[1].go.set()
    assert await first == "answer 1"
    assert not tiers[0].cache._coming
    assert await text_of(tiers, BASE) == ("answer 2" if gone else "answer 1")


async def test_an_answer_about_an_image_that_is_no_longer_stored_is_not_given() -> None:
    """The image was deleted through another decoder; the tiers that follow refuse the request."""
    tiers, images = cached(), KnownImages({"a": ImageKind.TEXT})
    await answered(router(*tiers), BASE, images=images)
    images.kinds.clear()
    assert (await answered(router(*tiers), BASE, images=images))[0] == "answer 2"
    inline = ask(images=(ImageInput("a", b"bytes"),))
    assert (await answered(router(*tiers), inline, images=images))[0] == "answer 3"
    assert (await answered(router(*tiers), inline, images=images))[0] == "answer 3"


async def test_a_caller_that_leaves_keeps_nothing() -> None:
    tiers = cached()
    stream = router(*tiers).answer(BASE, IMAGES.fleet, Deadline.after(30), RequestUsage())
    async for event in stream:
        if isinstance(event, Text):
            break
    await stream.aclose()
    assert not tiers[0].cache._coming
    assert await text_of(tiers, BASE) == "answer 2"
