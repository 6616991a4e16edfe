"""Another decoder as a tier: what it gets, how its receipt counts, and what its failures do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ImageInput
from decoder_svc.tiers.remote import DecoderTier, DecoderTierSettings, RemoteDecoder
from decoder_svc.tiers.values import Prices
from fovea.access.channel import ClientCredentials
from fovea.contract.answer import Finished, Started, Text
from fovea.contract.errors import (
    FoveaError,
    ImageNotStored,
    QuotaExceeded,
    RoleNotAllowed,
    TierUnavailable,
    TokenMissing,
)
from fovea.contract.receipt import Price
from fovea.contract.rows import digest
from fovea.contract.tools import Tool, ToolCall, ToolChoice, ToolMode, ToolUse, calls_from_proto, read_tools
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from tests.decoder.tiers.fakes import KnownImages, Scripted, answered, ask, events_of, router
from tests.e2e.pictures import picture
from tests.fovea.client.fakes import FakeDecoder, served

CLOSED = "127.0.0.1:9"


@asynccontextmanager
async def far(address: str, currency: str = "EUR", **changes: Any) -> AsyncIterator[DecoderTier]:
    """The tier of a decoder at an address."""
    chosen = DecoderTierSettings(**{"address": address, "silent_s": 0.2} | changes)
    remote = RemoteDecoder(address, ClientCredentials(), chosen.silent_s)
    tier = DecoderTier("far", chosen, remote, Geometry(), currency)
    try:
        yield tier
    finally:
        await tier.close()


def large() -> Scripted:
    return Scripted("large")


async def test_the_answer_is_that_of_the_other_decoder_and_its_receipt_counts_here() -> None:
    decoder = FakeDecoder()
    decoder.price = Price(0.25, "EUR", 0.5)
    with served(decoder) as address:
        async with far(address) as tier:
            events = await events_of(router(tier, large()), ask())
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.request_id, started.model) == ("r", "fake")
    assert "".join(event.text for event in events if isinstance(event, Text)) == "forty two"
    receipt = finished.receipt
    assert (receipt.tier.path, receipt.tier.reasons) == (("far/fake",), ("only tier",))
    assert (receipt.totals.visual_tokens, receipt.price) == (80, Price(0.25, "EUR", 0.5))


async def test_the_request_travels_with_tenant_parent_and_one_hop_less() -> None:
    decoder = FakeDecoder()
    with served(decoder) as address:
        async with far(address, tier="large") as tier:
            for limit in (0, 5):
                await answered(
                    router(tier, large()), replace(ask(text="Why?"), tenant="acme", hop_limit=limit)
                )
    first, second = decoder.requests
    assert (first.parent_request_id, first.tier, first.messages[0].parts[0].text) == ("r", "large", "Why?")
    assert (first.hop_limit, second.hop_limit) == (7, 4)
    assert decoder.metadata["fovea-tenant"] == "acme"


async def test_tools_reasoning_and_a_prefilled_turn_travel() -> None:
    decoder = FakeDecoder()
    call = ToolCall("1", "look", '{"x": 1}')
    messages = (
        ChatMessage("user", (TextPart("?"),)),
        ChatMessage("assistant", (), (call,), reasoning="Hm."),
        ChatMessage("tool", (TextPart("7"),), tool_call_id="1"),
        ChatMessage("assistant", (TextPart("It is"),)),
    )
    use = ToolUse((Tool("look", "Looks.", "{}", strict=True),), ToolChoice(ToolMode.NONE), parallel=False)
    request = replace(ask(), messages=messages, tool_use=use, thinking=False, continue_final=True)
    with served(decoder) as address:
        async with far(address) as tier:
            await answered(router(tier, large()), request)
    (sent,) = decoder.requests
    assert read_tools(sent) == use
    assert (sent.HasField("thinking"), sent.thinking, sent.continue_final_message) == (True, False, True)
    assert calls_from_proto(sent.messages[1].tool_calls) == (call,)
    assert (sent.messages[1].reasoning, sent.messages[2].tool_call_id) == ("Hm.", "1")


async def test_the_last_hop_is_not_given_away() -> None:
    """0 would be no limit for the other decoder: a circle of decoders would never end."""
    decoder = FakeDecoder()
    with served(decoder) as address:
        async with far(address, on_failure="fail") as tier:
            text, finished = await answered(router(tier, large()), ask(hop_limit=1))
    assert (text, finished.receipt.tier.reasons[0]) == ("the large", "hop_limit")
    assert decoder.calls == []


async def test_images_travel_by_id_where_they_are_known_else_as_bytes() -> None:
    decoder, data = FakeDecoder(), picture()
    known, sent = digest(b"known"), digest(data)
    decoder.stored[known] = b"known"
    parts = (ImagePart(0), ImagePart(1), TextPart("?"))
    images = (ImageInput(known), ImageInput(sent, data))
    request = replace(ask(), messages=(ChatMessage("user", parts),), images=images)
    with served(decoder) as address:
        async with far(address) as tier:
            await answered(router(tier, large()), request)
    assert [part.image.digest for part in decoder.requests[0].messages[0].parts[:2]] == [known, sent]
    assert decoder.stored[sent] == data


async def test_an_image_that_the_other_decoder_cannot_reach_is_the_next_tiers() -> None:
    with served(FakeDecoder()) as address:
        async with far(address) as tier:
            _, finished = await answered(router(tier, large()), ask(digest(b"unknown")))
    assert finished.receipt.tier.reasons == ("IMAGE_NOT_STORED", "last tier")


@pytest.mark.parametrize(
    ("currency", "prices", "expected"),
    [
        ("EUR", None, Price(0.25, "EUR", 0.5)),
        ("USD", None, Price()),
        ("USD", Prices(visual_tokens=1e6), Price(80.0, "USD", 80.0)),
    ],
)
async def test_amounts_of_two_currencies_are_never_added(
    currency: str, prices: Prices | None, expected: Price
) -> None:
    decoder = FakeDecoder()
    decoder.price = Price(0.25, "EUR", 0.5)
    with served(decoder) as address:
        async with far(address, currency, price=prices) as tier:
            _, finished = await answered(router(tier, large()), ask())
    assert finished.receipt.price == expected


async def test_a_dead_decoder_falls_back_and_is_not_called_again_until_it_serves() -> None:
    with served(FakeDecoder()) as address:
        pass
    async with far(address) as tier:
        for _ in range(2):
            text, finished = await answered(router(tier, large()), ask())
            assert (text, finished.receipt.tier.reasons[0]) == ("the large", "TIER_UNAVAILABLE")
        figures = {figure.name: figure.read() for figure in tier.figures}
        assert (figures["up"], figures["failures"]) == (False, 1)
        decoder = FakeDecoder()
        with served(decoder, address):
            async with asyncio.timeout(60):
                await tier._remote.breaker.until_closed()
            text, _ = await answered(router(tier, large()), ask())
    assert text == "forty two"


async def test_by_setting_a_dead_decoder_fails_the_request_with_advice() -> None:
    async with far(CLOSED, on_failure="fail") as tier:
        with pytest.raises(TierUnavailable, match="tier far ") as failed:
            await answered(router(tier, large()), ask())
    assert failed.value.retry_after_s
    assert failed.value.metadata["tier"] == "far"


class Stopped(FakeDecoder):
    """Takes calls and answers none, like a process that is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def Generate(self, request, context):
        context.add_callback(self.ended.set)
        self.go.wait(60)
        yield from ()

    def GetServerInfo(self, request, context):
        self.go.wait(60)
        return super().GetServerInfo(request, context)


async def test_a_decoder_without_a_sign_of_life_is_given_up() -> None:
    decoder = Stopped()
    with served(decoder) as address:
        async with far(address) as tier:
            _, finished = await answered(router(tier, large()), ask())
            assert finished.receipt.tier.reasons[0] == "TIER_UNAVAILABLE"
            assert tier._remote.breaker.open
            assert await asyncio.to_thread(decoder.ended.wait, 30), "the call goes on"
            decoder.go.set()


class Slow(FakeDecoder):
    """Computes for longer than the tier waits without a sign of life, and gives signs of life."""

    def __init__(self) -> None:
        super().__init__()
        self.probes = 0
        self.probed_twice = threading.Event()

    def Generate(self, request, context):
        self.probed_twice.wait(60)
        yield from super().Generate(request, context)

    def GetServerInfo(self, request, context):
        self.probes += 1
        if self.probes == 2:
            self.probed_twice.set()
        return super().GetServerInfo(request, context)


async def test_a_slow_decoder_that_answers_probes_is_waited_for() -> None:
    with served(Slow()) as address:
        async with far(address) as tier:
            text, _ = await answered(router(tier, large()), ask())
    assert text == "forty two"


async def test_once_an_event_has_passed_a_failure_is_the_callers() -> None:
    decoder = FakeDecoder()
    decoder.breaks = True
    with served(decoder) as address:
        async with far(address) as tier:
            answer = router(tier, large()).answer(
                ask(), KnownImages().fleet, Deadline.after(30), RequestUsage()
            )
            assert isinstance(await anext(answer), Started)
            with pytest.raises(TierUnavailable):
                _ = [event async for event in answer]


QUOTA = QuotaExceeded("acme", "tokens", 1.0, 1.0, 1.0, "2030-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("failure", "raised", "text"),
    [
        (QUOTA, QuotaExceeded, "tenant acme"),
        (ImageNotStored("sha256:1"), ImageNotStored, "sha256:1"),
        (TokenMissing(), TierUnavailable, "refuses the credentials of this decoder"),
        (RoleNotAllowed("user", "/x"), TierUnavailable, "refuses the credentials of this decoder"),
    ],
)
async def test_refusals_pass_and_refused_credentials_are_the_tiers_fault(
    failure: FoveaError, raised: type[FoveaError], text: str
) -> None:
    decoder = FakeDecoder()
    decoder.failure = failure
    with served(decoder) as address:
        async with far(address, on_failure="fail") as tier:
            with pytest.raises(raised, match=text):
                await answered(router(tier, large()), ask())
            assert not tier._remote.breaker.open


async def test_a_caller_that_leaves_ends_the_call_there() -> None:
    decoder = FakeDecoder()
    decoder.hang = True
    with served(decoder) as address:
        async with far(address) as tier:
            answer = router(tier, large()).answer(ask(), KnownImages().fleet, Deadline(), RequestUsage())
            assert isinstance(await anext(answer), Started)
            await answer.aclose()
            assert await asyncio.to_thread(decoder.ended.wait, 30)


async def test_the_deadline_travels() -> None:
    """The other decoder gets the time that is left, less the margin."""
    left: list[float] = []

    class Clocked(FakeDecoder):
        def Generate(self, request, context):
            left.append(context.time_remaining())
            yield from super().Generate(request, context)

    with served(Clocked()) as address:
        async with far(address) as tier:
            await answered(router(tier, large()), ask())
    assert 0 < left[0] < 30


async def test_a_reservation_comes_before_the_call() -> None:
    decoder = FakeDecoder()

    async def refuse(most: Any) -> None:
        raise QUOTA

    with served(decoder) as address:
        async with far(address, on_failure="fail", price=Prices(output_tokens=1.0)) as tier:
            with pytest.raises(QuotaExceeded):
                await answered(router(tier, large()), ask(), RequestUsage(reserve=refuse))
    assert decoder.calls == []
