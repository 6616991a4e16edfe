"""The order of tiers, what a request says about them, and what several attempts spend together."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

import pytest

from decoder_svc.budget.tariff import Spend
from decoder_svc.receipt import RequestUsage
from decoder_svc.tiers.router import Step
from decoder_svc.tiers.when import When
from fovea.contract.answer import Started
from fovea.contract.budget import Detail
from fovea.contract.errors import (
    EngineBusy,
    ImageNotStored,
    QuotaExceeded,
    QuoteExceeded,
    TierDidNotAnswer,
    TierUnknown,
)
from fovea.contract.image import ImageKind
from fovea.contract.receipt import Tier
from fovea.deadline import Deadline
from tests.decoder.tiers.fakes import NAIVE, Free, KnownImages, Scripted, answered, ask, events_of, router


async def test_a_tier_that_passes_on_is_followed_by_the_next_and_the_receipt_says_why() -> None:
    used = RequestUsage()
    chain = router(
        Free("cache", passes="not answered before"), Scripted("small", passes="unsure"), Scripted("large")
    )
    text, finished = await answered(chain, ask(), used)
    reasons = ("not answered before", "unsure", "last tier")
    assert text == "the large"
    assert finished.receipt.tier == Tier(("cache", "small", "large"), "last tier", reasons)
    assert used.receipt == finished.receipt
    assert (used.model, used.answered) == ("large", "length")


async def test_the_reason_of_an_answer_is_the_tiers_own_or_that_of_its_place() -> None:
    async def reason(*tiers: Scripted, tier: str = "") -> str:
        return (await answered(router(*tiers), ask(tier=tier)))[1].receipt.tier.reason

    assert await reason(Scripted("a")) == "only tier"
    assert await reason(Scripted("a", says="sure"), Scripted("b")) == "sure"
    assert await reason(Scripted("a"), Scripted("b")) == "answered"
    assert await reason(Scripted("a"), Scripted("b"), tier="b") == "asked for by the request"


async def test_a_pinned_tier_answers_or_the_request_fails_and_no_other_tier_is_tried() -> None:
    small, large = Scripted("small", passes="unsure"), Scripted("large")
    chain = router(small, Step(Scripted("rare"), "model", When(max_images=0)), large)
    with pytest.raises(TierDidNotAnswer, match=r"tier small did not answer \(unsure\), and tier"):
        await answered(chain, ask(tier="small"))
    with pytest.raises(TierDidNotAnswer, match=r"tier rare did not answer .*when"):
        await answered(chain, ask("a", tier="rare"))
    assert not large.requests
    assert (await answered(chain, ask(tier="large")))[0] == "the large"
    assert len(small.requests) == 1


async def test_an_unknown_tier_is_refused_with_the_names_of_the_known() -> None:
    chain = router(Scripted("small"), Scripted("large"))
    with pytest.raises(TierUnknown, match="no tier medium; this server has small, large") as refused:
        await answered(chain, ask(tier="medium"))
    assert refused.value.violations[0].field == "tier"


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_a_hop_limit_bounds_the_tiers_that_run_a_model(limit: int) -> None:
    tiers = [
        Free("cache", passes="miss"),
        Scripted("tiny", passes="unsure"),
        Free("text", passes="read"),
        Scripted("small", passes="unsure too"),
        Scripted("large"),
    ]
    chain = router(*tiers)
    if limit >= 3:
        assert (await answered(chain, ask(hop_limit=limit)))[0] == "the large"
        return
    with pytest.raises(TierDidNotAnswer, match="hop_limit"):
        await answered(chain, ask(hop_limit=limit))
    assert sum(len(tier.requests) for tier in tiers if tier.computes) == limit


@pytest.mark.parametrize(
    ("when", "tier"),
    [
        (When(max_images=1), "large"),
        (When(max_images=2), "small"),
        (When(kinds=(ImageKind.TEXT,)), "large"),
        (When(kinds=(ImageKind.TEXT, ImageKind.PHOTO)), "small"),
        (When(detail=Detail.LOW), "large"),
        (When(detail=Detail.HIGH), "small"),
        (When(kinds=(ImageKind.TEXT, ImageKind.PHOTO), max_images=1), "large"),
    ],
)
async def test_a_tier_is_tried_only_when_all_of_its_conditions_hold(when: When, tier: str) -> None:
    images = KnownImages({"a": ImageKind.TEXT, "b": ImageKind.PHOTO})
    chain = router(Step(Scripted("small"), "model", when), Scripted("large"))
    text, finished = await answered(chain, ask("a", "b"), images=images)
    assert text == f"the {tier}"
    assert finished.receipt.tier.path == (tier,)


async def test_conditions_on_kinds_need_images_and_report_an_image_that_is_not_stored() -> None:
    chain = router(Step(Scripted("small"), "model", When(kinds=(ImageKind.TEXT,))), Scripted("large"))
    assert (await answered(chain, ask()))[0] == "the large"
    with pytest.raises(ImageNotStored) as missing:
        await answered(chain, ask("gone"))
    assert missing.value.violations[0].field == "messages[0].parts[0].image"


async def test_the_spend_of_every_attempt_is_on_the_receipt() -> None:
    used = RequestUsage()
    chain = router(
        Scripted("small", passes="unsure", spends=Spend(10, 0.5)), Scripted("large", spends=Spend(30, 2.0))
    )
    receipt = (await answered(chain, ask(), used))[1].receipt
    assert (receipt.totals.text_tokens, receipt.totals.encodes) == (40, 2)
    assert (receipt.price.amount, receipt.price.currency, receipt.price.naive_amount) == (2.5, "EUR", 9.0)
    assert receipt.totals.naive_visual_tokens == NAIVE
    assert used.receipt == receipt


async def test_a_request_that_fails_in_a_later_tier_has_spent_what_the_tiers_before_have() -> None:
    used = RequestUsage()
    busy = EngineBusy("waiting", 1.0, 2.0, 1.0)
    chain = router(
        Scripted("small", passes="unsure", spends=Spend(10, 0.5)),
        Scripted("large", error=busy, spends=Spend(3, 0.25)),
    )
    with pytest.raises(EngineBusy):
        await answered(chain, ask(), used)
    assert (used.receipt.totals.text_tokens, used.receipt.price.amount) == (13, 0.75)
    assert used.receipt.tier == Tier(("small", "large"), "", ("unsure", ""))
    assert not used.answered


async def test_an_answer_that_is_left_early_closes_every_tier() -> None:
    used = RequestUsage()
    small, large = Scripted("small", passes="unsure"), Scripted("large")
    answer = router(small, large).answer(ask(), KnownImages().fleet, Deadline.after(30), used)
    async with aclosing(answer) as events:
        assert isinstance(await anext(events), Started)
        assert (small.open, large.open) == (1, 1)
    assert (small.open, large.open) == (0, 0)
    assert used.receipt.tier.path == ("small", "large")


async def _take(taken: list[Spend], limit: int, most: Spend) -> None:
    if sum(each.tokens for each in taken) + most.tokens > limit:
        raise QuotaExceeded("acme", "tokens", limit, 0, most.tokens, "")
    taken.append(most)


async def test_the_first_attempt_reserves_for_every_tier_that_may_be_tried() -> None:
    tiers = [
        Scripted("small", passes="unsure", spends=Spend(10, 0.1), most_spend=Spend(15, 0.2)),
        Scripted("large", spends=Spend(40, 1.0), most_spend=Spend(50, 1.5)),
    ]
    taken: list[Spend] = []
    await answered(router(*tiers), ask(), RequestUsage(reserve=partial(_take, taken, 65)))
    assert taken == [Spend(65, 1.7)]
    for limit in (64, 0):
        taken.clear()
        for tier in tiers:
            tier.requests.clear()
        used = RequestUsage(reserve=partial(_take, taken, limit))
        with pytest.raises(QuotaExceeded):
            await answered(router(*tiers), ask(), used)
        assert not tiers[1].requests
        assert used.receipt.totals.text_tokens == 0


@pytest.mark.parametrize(
    ("changes", "most"), [({}, 65), ({"tier": "large"}, 50), ({"tier": "small"}, 15), ({"hop_limit": 1}, 15)]
)
async def test_a_quote_covers_the_tiers_that_may_be_tried_and_no_others(changes: dict, most: int) -> None:
    small = Scripted("small", most_spend=Spend(15))
    chain = router(Free("cache", passes="miss"), small, Scripted("large", most_spend=Spend(50)))
    await answered(chain, ask(**changes), RequestUsage(quote=Spend(most)))
    with pytest.raises(QuoteExceeded) as refused:
        await answered(chain, ask(**changes), RequestUsage(quote=Spend(most - 1)))
    assert refused.value.actual == most


async def test_a_tier_that_may_spend_more_than_was_admitted_reserves_the_rest() -> None:
    """As after a tier that has changed the request, or an encoder that has changed."""
    taken: list[Spend] = []
    used = RequestUsage(reserve=partial(_take, taken, 100))
    await used.admit(Spend(10, 1.0), "EUR")
    used.receipt = Scripted(spends=Spend(4, 0.5))._receipt()
    used.give_up()
    await used.admit(Spend(10, 1.0), "EUR")
    assert taken == [Spend(10, 1.0), Spend(4, 0.5)]
    assert used.may_spend(Spend(10**9))
    used.quote = Spend(14, 1.5)
    assert used.may_spend(Spend(10, 1.0))
    assert not used.may_spend(Spend(11, 1.0))
    assert not used.may_spend(Spend(10, 1.1))


async def test_every_event_of_the_answering_tier_passes_once() -> None:
    events = await events_of(router(Scripted("small", passes="unsure"), Scripted("large")), ask())
    assert [type(event).__name__ for event in events] == ["Started", "Text", "Text", "Finished"]
