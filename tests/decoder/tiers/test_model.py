"""A model tier keeps an answer of enough confidence; every other request goes on, with what was spent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from decoder_svc.budget.tariff import Spend
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.model import ModelTier, VisualLimit
from decoder_svc.tiers.served import ServedModel
from fovea.calibration.answers import AnswerType
from fovea.calibration.calibration import Calibration, Counts
from fovea.calibration.confidence import Scale
from fovea.calibration.threshold import Measure
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.budget import Detail
from fovea.contract.errors import EngineBusy, ImageCorrupt, TierDidNotAnswer
from fovea.contract.receipt import Receipt, Stages, Totals
from fovea.contract.sampling import Sampling
from fovea.contract.tools import Tool, ToolChoice, ToolMode, ToolUse
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from tests.decoder.tiers.fakes import KnownImages, Scripted, answered, ask, events_of, router

DIGEST = f"sha256:{'a' * 64}"
SURE, UNSURE = (math.log(0.9),), (math.log(0.5),)
CALIBRATION = Calibration(
    "small", DIGEST, "", Measure.ABSOLUTE, 0.9, 0.8, {AnswerType.WORD: Scale()}, Counts(400, 300, 290), DIGEST
)


@dataclass
class Says:
    """The answerer of the tier's model. Gives log-probabilities only on request, as an engine does."""

    text: str = "red"
    logprobs: tuple[float, ...] = SURE
    reason: FinishReason = FinishReason.STOP
    error: Exception | None = None
    hangs: bool = False
    requests: list[ChatRequest] = field(default_factory=list)
    open: int = 0

    async def answer(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        self.open += 1
        try:
            if self.error is not None:
                raise self.error
            yield Started(request.id, "small", 7, 5)
            wanted = self.logprobs if request.sampling.logprobs else ()
            token_bytes = tuple(self.text.encode() for _ in wanted)
            yield Text(self.text, tuple(range(len(self.logprobs))), wanted, token_bytes)
            if self.hangs:
                await asyncio.Event().wait()
            yield Finished(self.reason, "", self._receipt())
        finally:
            self.open -= 1
            used.receipt = self._receipt()

    @staticmethod
    def _receipt() -> Receipt:
        return Receipt((), Totals(text_tokens=10, output_tokens=1), Stages())

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        if self.error is not None:
            raise self.error
        return Spend(20, 0.5)


@dataclass(frozen=True)
class Facts:
    geometry: Geometry = field(default_factory=Geometry)


def tier(says: Says, **changes: Any) -> ModelTier:
    model = cast("ServedModel", Model(says))
    return ModelTier("small", model, **{"calibration": CALIBRATION} | changes)


@dataclass(frozen=True)
class Model:
    answerer: Says
    facts: Facts = field(default_factory=Facts)
    dummy: None = None


LARGE = Scripted("large", spends=Spend(100))


def path_of(finished: Finished) -> tuple[Sequence[str], Sequence[str]]:
    return finished.receipt.tier.path, finished.receipt.tier.reasons


async def test_a_confident_answer_is_kept() -> None:
    text, finished = await answered(router(tier(Says()), LARGE), ask())
    assert (text, finished.receipt.totals.text_tokens) == ("red", 10)
    assert path_of(finished) == (("small",), ("confidence 0.900, threshold 0.800",))


async def test_an_unsure_answer_goes_on_with_what_was_spent() -> None:
    chain = router(tier(Says(logprobs=UNSURE)), Scripted("large", spends=Spend(100)))
    events = await events_of(chain, ask())
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert [event.text for event in events if isinstance(event, Text)] == ["the ", "large"]
    assert finished.receipt.totals.text_tokens == 110
    assert path_of(finished) == (("small", "large"), ("confidence 0.500, threshold 0.800", "last tier"))


async def test_the_caller_gets_log_probabilities_only_on_request() -> None:
    """The tier needs them for every answer."""
    for wanted in (False, True):
        says = Says()
        request = ask(sampling=Sampling(logprobs=wanted))
        (text,) = (e for e in await events_of(router(tier(says), LARGE), request) if isinstance(e, Text))
        assert says.requests[0].sampling.logprobs
        assert text.logprobs == (SURE if wanted else ())
        assert text.token_bytes == ((b"red",) if wanted else ())
        assert text.token_ids == (0,)


@pytest.mark.parametrize("text", ["It is a chart with four bars and a title.", "42"])
async def test_an_answer_of_a_type_that_was_not_calibrated_goes_on(text: str) -> None:
    _, finished = await answered(router(tier(Says(text, (-1e-6,))), LARGE), ask())
    assert path_of(finished)[0] == ("small", "large")


async def test_a_cut_answer_goes_on() -> None:
    """A model that repeats itself is sure of every token."""
    _, finished = await answered(router(tier(Says(reason=FinishReason.LENGTH)), LARGE), ask())
    assert path_of(finished)[1][0] == "cut at max_new_tokens"


async def test_without_a_calibration_the_model_is_not_even_asked() -> None:
    says = Says()
    _, finished = await answered(router(tier(says, calibration=None), LARGE), ask())
    assert path_of(finished) == (("small", "large"), ("not calibrated", "last tier"))
    assert says.requests == []


async def test_a_request_with_tools_goes_to_the_tiers_that_follow() -> None:
    """A calibration is of answers of text. A request that may call no tool is one of text."""
    says = Says()
    use = ToolUse((Tool("a"),))
    _, finished = await answered(router(tier(says), LARGE), replace(ask(), tool_use=use))
    assert path_of(finished) == (("small", "large"), ("not calibrated for tools", "last tier"))
    assert says.requests == []
    none = replace(use, choice=ToolChoice(ToolMode.NONE))
    await answered(router(tier(says), LARGE), replace(ask(), tool_use=none))
    assert len(says.requests) == 1


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
async def test_a_request_that_names_the_tier_gets_its_answer_whatever_its_confidence(
    calibration: Calibration | None,
) -> None:
    says = Says(logprobs=UNSURE)
    text, finished = await answered(router(tier(says, calibration=calibration), LARGE), ask(tier="small"))
    assert (text, path_of(finished)[0]) == ("red", ("small",))


async def test_a_request_that_forbids_escalation_fails_with_the_confidence() -> None:
    with pytest.raises(TierDidNotAnswer, match=r"confidence 0\.500"):
        await answered(router(tier(Says(logprobs=UNSURE)), LARGE), ask(hop_limit=1))


BUSY = EngineBusy("max_waiting", 1, 2, 1.0)


@pytest.mark.parametrize("error", [BUSY, ImageCorrupt("PNG")])
async def test_a_request_that_the_tier_fails_to_answer_goes_on(error: Exception) -> None:
    """A fault of the request fails at the next tier too, whose error the caller gets."""
    _, finished = await answered(router(tier(Says(error=error)), LARGE), ask())
    assert path_of(finished)[1][0] == cast("Any", error).reason


async def test_by_setting_a_failure_of_the_tier_is_the_callers() -> None:
    with pytest.raises(EngineBusy):
        await answered(router(tier(Says(error=BUSY), fails=True), LARGE), ask())


async def test_a_tier_takes_at_most_its_share_of_the_time() -> None:
    says = Says(hangs=True)
    chain = router(tier(says), LARGE)
    used = RequestUsage()
    answer = chain.answer(ask(), KnownImages().fleet, Deadline.after(1.0), used)
    events = [event async for event in answer]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert path_of(finished)[1][0] == "out of time"
    assert says.open == 0


async def test_a_caller_that_leaves_ends_the_answer() -> None:
    says = Says(hangs=True)
    answer = router(tier(says), LARGE).answer(ask(), KnownImages().fleet, Deadline(), RequestUsage())
    waiting = asyncio.ensure_future(anext(answer))
    while not says.open:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await answer.aclose()
    assert says.open == 0


@pytest.mark.parametrize(
    ("own", "asked", "seen"),
    [
        (VisualLimit(), (1_000_000, Detail.HIGH), (1_000_000, Detail.HIGH)),
        (VisualLimit(200_000, Detail.LOW), (1_000_000, Detail.HIGH), (200_000, Detail.LOW)),
        (VisualLimit(200_000, Detail.AUTO), (100_000, Detail.LOW), (100_000, Detail.LOW)),
        (VisualLimit(1), (None, None), (65_536, None)),
    ],
)
async def test_the_tier_sees_no_more_than_its_own_limit(
    own: VisualLimit, asked: tuple[int | None, Detail | None], seen: tuple[int | None, Detail | None]
) -> None:
    says, large = Says(logprobs=UNSURE), Scripted("large")
    request = ask()
    request = replace(request, budget=replace(request.budget, max_pixels=asked[0], detail=asked[1]))
    await answered(router(tier(says, limit=own), large), request)
    budget = says.requests[0].budget
    assert (budget.max_pixels, budget.detail) == seen
    assert large.requests[0].budget == request.budget


async def test_the_share_that_the_tier_keeps_is_that_of_its_calibration() -> None:
    assert tier(Says()).keeps == 0.75
    assert tier(Says(), calibration=None).keeps is None


async def test_what_the_tier_may_spend_is_nothing_if_it_will_not_be_asked_or_cannot() -> None:
    async def most(asked: ModelTier, **changes: Any) -> Spend:
        return await asked.most(ask(**changes), KnownImages().fleet, Deadline.after(30))

    assert await most(tier(Says())) == Spend(20, 0.5)
    assert await most(tier(Says(), calibration=None)) == Spend()
    assert await most(tier(Says(), calibration=None), tier="small") == Spend(20, 0.5)
    assert await most(tier(Says(error=BUSY))) == Spend()
