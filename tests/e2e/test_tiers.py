"""A decoder with tiers: exact answers in front of its model, over both calls, in the ledger and after a deletion."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decoder_svc.errors import TiersFileInvalid
from fovea.client import AsyncClient, Format, Sampling, errors
from fovea.decoder.v1 import decoder_pb2
from tests.e2e.house import CALL_S, Answered, House, decoder, digest_of, request
from tests.e2e.metrics import metric_families
from tests.e2e.pictures import picture
from tests.e2e.test_ledger import records

TIERS = """
[[tier]]
name = "cache"
kind = "exact"
max_bytes = "4 MiB"

[[tier]]
name = "blank"
kind = "blank"

[[tier]]
name = "large"
kind = "model"
"""
PATH = ["cache", "blank", "large"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tiered(
    house: House, checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """A decoder with tiers, beside the encoder of the shared house."""
    folder = tmp_path_factory.mktemp("tiers")
    (folder / "tiers.toml").write_text(TIERS)
    prices = {"price_currency": "EUR", "price_per_million_text_tokens": 1.0}
    changes = {"tiers": folder / "tiers.toml", "ledger": True, "ledger_dir": folder, **prices}
    service = decoder(checkpoint("moe"), [house.encoder_side.address], **changes)
    try:
        await service.until_ready()
        yield House(house.model, house.cache, house.encoder_side, service)
    finally:
        await service.stop()


def question(seed: int, **changes: Any) -> decoder_pb2.GenerateRequest:
    message = request("What is it?", [picture(seed=seed)], max_new_tokens=6)
    message.request_id = uuid.uuid4().hex
    for name, value in changes.items():
        setattr(message, name, value)
    return message


async def complete(house: House, message: decoder_pb2.GenerateRequest) -> decoder_pb2.CompleteResponse:
    return await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)


async def test_a_repeated_question_is_answered_from_the_cache_by_either_call(tiered: House) -> None:
    first = await tiered.ask(question(9400))
    encodes = await tiered.encodes()
    again, whole = await tiered.ask(question(9400)), await complete(tiered, question(9400))
    assert list(first.finished.receipt.tier.path) == PATH
    assert first.finished.receipt.tier.reasons[2] == first.finished.receipt.tier.reason == "last tier"
    for answer, text, receipt in (
        (again, again.text, again.finished.receipt),
        (whole, whole.text, whole.receipt),
    ):
        assert (list(answer.token_ids), text) == (first.token_ids, first.text)
        assert (list(receipt.tier.path), receipt.tier.reason) == (["cache"], "answered before by large")
        totals = receipt.totals
        assert (totals.text_tokens, totals.visual_tokens, totals.output_tokens, totals.encodes) == (
            0,
            0,
            0,
            0,
        )
        assert totals.naive_visual_tokens == first.finished.receipt.totals.naive_visual_tokens
        assert (receipt.price.amount, receipt.price.currency) == (0.0, "EUR")
        assert receipt.price.naive_amount == first.finished.receipt.price.naive_amount
    assert whole.finish_reason == again.finished.finish_reason == first.finished.finish_reason
    assert whole.model == again.started.model == first.started.model
    assert again.started.request_id != first.started.request_id
    assert await tiered.encodes() == encodes


async def test_another_format_sampling_or_budget_is_computed_anew(tiered: House) -> None:
    image = picture(seed=9401)
    async with AsyncClient(tiered.decoder_side.address) as client:
        short = Sampling(max_new_tokens=4)

        async def path(**options: Any) -> tuple[str, ...]:
            return (
                await client.ask("What is it?", [image], **({"sampling": short} | options))
            ).receipt.tier.path

        assert await path() == tuple(PATH)
        for options in (
            {"sampling": Sampling(max_new_tokens=5)},
            {"sampling": Sampling(max_new_tokens=4, repetition_penalty=1.1)},
            {"response_format": Format.regex("[ab]{1,9}")},
            {"sampling": Sampling(max_new_tokens=4, presence_penalty=1.5)},
            {"sampling": Sampling(max_new_tokens=4, logit_bias={7: 1.0})},
            {"logprobs": True},
            {"top_logprobs": 2},
            {"max_pixels": 4096},
            {"hop_limit": 1},
        ):
            assert await path(**options) == tuple(PATH), options
        assert await path() == ("cache",)
        warm = Sampling(max_new_tokens=4, temperature=0.9, seed=1)
        assert [await path(sampling=warm) for _ in range(2)] == [tuple(PATH)] * 2


async def test_a_deleted_image_takes_its_answers_with_it(tiered: House) -> None:
    image = picture(seed=9402)
    async with AsyncClient(tiered.decoder_side.address) as client:
        ask = {"sampling": Sampling(max_new_tokens=3)}
        await client.ask("?", [image], **ask)
        assert (await client.ask("?", [image], **ask)).receipt.tier.path == ("cache",)
        await client.delete(image)
        with pytest.raises(errors.ImageNotStored):
            await client.ask("?", [digest_of(image)], **ask)
        assert (await client.ask("?", [image], **ask)).receipt.tier.path == tuple(PATH)


async def test_an_image_that_another_decoder_has_deleted_is_refused_although_its_answer_is_here(
    house: House, tiered: House
) -> None:
    image = picture(seed=9403)
    async with AsyncClient(tiered.decoder_side.address) as client:
        await client.put(image)
        await client.ask("?", [digest_of(image)], sampling=Sampling(max_new_tokens=3))
        async with AsyncClient(house.decoder_side.address) as other:
            await other.delete(image)
        with pytest.raises(errors.ImageNotStored):
            await client.ask("?", [digest_of(image)], sampling=Sampling(max_new_tokens=3))


async def test_a_request_may_pin_a_tier(tiered: House) -> None:
    large: Answered = await tiered.ask(question(9404, tier="large"))
    assert list(large.finished.receipt.tier.path) == ["large"]
    assert large.finished.receipt.tier.reason == "asked for by the request"
    async with AsyncClient(tiered.decoder_side.address) as client:
        with pytest.raises(errors.TierDidNotAnswer, match="not answered before"):
            await client.ask("Never asked?", tier="cache")
        with pytest.raises(errors.TierUnknown, match="cache, blank, large"):
            await client.ask("?", tier="medium")
        with pytest.raises(errors.TierUnknown):
            await client.count("?", tier="medium")


async def test_the_record_has_the_path_and_the_parent(tiered: House) -> None:
    message = question(9405, parent_request_id="parent 7")
    for path in ("cache>blank>large", "cache"):
        message.request_id = uuid.uuid4().hex
        await tiered.ask(message)
        (record,) = await records(tiered, message.request_id)
        assert ">".join(record.receipt.tier.path) == path
        assert record.parent_request_id == "parent 7"
    async with AsyncClient(tiered.decoder_side.address) as client:
        assert {"cache", "cache>blank>large"} <= {sum.key for sum in await client.summarize_usage("tier")}
        with pytest.raises(errors.InvalidArgument, match="parent_request_id"):
            await client.ask("?", parent_request_id="x" * 129)


async def test_the_metrics_count_hits_and_misses_by_tier(tiered: House) -> None:
    async def counts() -> dict[tuple[str, str], float]:
        families = await metric_families(tiered.decoder_side.metrics)
        requests = families["fovea_decoder_tier_requests"].samples
        counted = {
            (s.labels["tier"], s.labels["result"]): s.value for s in requests if s.name.endswith("_total")
        }
        for name in ("hits", "misses"):
            (sample,) = families[f"fovea_decoder_tier_{name}"].samples
            counted[sample.labels["tier"], name] = sample.value
        return counted

    await tiered.ask(question(9406))
    before = await counts()
    await tiered.ask(question(9406))
    await tiered.ask(question(9407))
    after = await counts()
    assert {key: after[key] - before[key] for key in after} == {
        ("cache", "answered"): 1,
        ("cache", "passed"): 1,
        ("blank", "passed"): 1,
        ("large", "answered"): 1,
        ("cache", "hits"): 1,
        ("cache", "misses"): 1,
    }


async def test_the_server_lists_its_tiers_and_times_the_model(house: House, tiered: House) -> None:
    info = await tiered.info()
    assert [(tier.name, tier.kind) for tier in info.tiers] == [
        ("cache", "exact"),
        ("blank", "blank"),
        ("large", "model"),
    ]
    assert [tier.HasField("dummy_ms") for tier in info.tiers] == [False, False, True]
    assert info.tiers[2].dummy_ms > 0
    (only,) = (await house.info()).tiers
    assert (only.name, only.kind) == (house.model.name, "model")


async def test_without_a_tiers_file_the_model_is_the_only_tier(house: House) -> None:
    answered = await house.ask(question(9408))
    tier = answered.finished.receipt.tier
    assert (list(tier.path), tier.reason, list(tier.reasons)) == (
        [house.model.name],
        "only tier",
        ["only tier"],
    )


async def test_a_quote_is_that_of_the_tiers_that_may_be_tried(tiered: House) -> None:
    async with AsyncClient(tiered.decoder_side.address) as client:
        options: dict[str, Any] = {"sampling": Sampling(max_new_tokens=3)}
        count = await client.count("How?", **options)
        assert count.quote is not None
        assert count.quote.max_tokens == count.prompt_tokens + 3
        for _ in range(2):  # computed, and from the cache
            await client.ask("How?", quote=count.quote, **options)
        pinned = await client.count("How?", tier="cache", **options)
        assert pinned.quote is not None
        assert pinned.quote.max_tokens == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TIERS.replace('"exact"', '"fuzzy"'), "line 4: kind 'fuzzy' is not a kind of tier"),
        (
            TIERS.replace("max_bytes", "bytes"),
            "line 5: bytes '4 MiB' is not a key here; did you mean max_bytes",
        ),
    ],
)
async def test_a_decoder_with_a_wrong_tiers_file_does_not_start(
    checkpoint: Callable[[str], Path], tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "tiers.toml").write_text(text)
    service = decoder(checkpoint("moe"), ["127.0.0.1:1"], tiers=tmp_path / "tiers.toml")
    try:
        with pytest.raises(TiersFileInvalid, match=words):
            await service.task
    finally:
        await service.channel.close()
