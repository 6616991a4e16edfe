"""Every request leaves exactly one record, however it ends, and the record says what was spent."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import structlog
from prometheus_client.metrics_core import Metric

from fovea.client import AsyncClient, Sampling
from fovea.decoder.v1 import decoder_pb2, usage_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, LONG_WINDED, House, request
from tests.e2e.metrics import metric_families, scrape
from tests.e2e.pictures import picture

PATIENCE_S = 60.0
EVENTS = (
    "hits",
    "misses",
    "evictions",
    "puts",
    "reads",
    "fallbacks",
    "dropped",
    "written",
    "refused",
    "preemptions",
)


async def records(house: House, request_id: str, count: int = 1) -> list[usage_pb2.UsageRecord]:
    """The records of a request id, once there are `count`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            reply = await house.usage.GetUsage(
                usage_pb2.GetUsageRequest(request_id=request_id), timeout=CALL_S
            )
            if len(reply.records) >= count:
                return list(reply.records)
            await asyncio.sleep(0.05)


def endless(*images: bytes) -> decoder_pb2.GenerateRequest:
    """A request whose answer takes 400 tokens."""
    message = named(request(LONG_WINDED, images, max_new_tokens=400))
    message.response_format.regex = "[ab]{1000}"
    return message


def named(message: decoder_pb2.GenerateRequest) -> decoder_pb2.GenerateRequest:
    message.request_id = uuid.uuid4().hex
    return message


async def the_record(house: House, message: decoder_pb2.GenerateRequest) -> usage_pb2.UsageRecord:
    """The only record of a request. A later request's record is written after any other of this request."""
    await records(house, message.request_id)
    later = named(request("?", max_new_tokens=1))
    await house.ask(later)
    await records(house, later.request_id)
    (record,) = await records(house, message.request_id)
    return record


async def test_the_record_of_an_answer_has_the_receipt_that_the_caller_got(house: House) -> None:
    message = named(request("What is it?", [picture(seed=9001)], max_new_tokens=6))
    answered = await house.ask(message)
    record = await the_record(house, message)
    assert record.receipt == answered.finished.receipt
    assert (record.tenant, record.method, record.reason) == ("default", "Generate", "")
    assert record.model == answered.started.model
    assert usage_pb2.Outcome.Name(record.outcome) in ("OUTCOME_OK", "OUTCOME_LENGTH")
    assert record.id != record.request_id


async def test_an_answer_cut_at_its_limit_is_told_apart(house: House) -> None:
    message = named(request(LONG_WINDED, max_new_tokens=3))
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    record = await the_record(house, message)
    assert whole.finish_reason == decoder_pb2.FINISH_REASON_LENGTH
    assert (record.outcome, record.method) == (usage_pb2.OUTCOME_LENGTH, "Complete")


async def test_a_cancelled_call_has_a_record_of_what_was_spent_by_then(house: House) -> None:
    message = endless(picture(seed=9002))
    call = house.decoder.Generate(message)
    started, tokens = (await call.read()).started, 0
    while tokens < 8:
        tokens += len((await call.read()).delta.token_ids)
    call.cancel()
    record = await the_record(house, message)
    totals = record.receipt.totals
    assert (record.outcome, record.reason) == (usage_pb2.OUTCOME_CANCELLED, "")
    assert tokens <= totals.output_tokens < 400
    assert totals.visual_tokens == started.visual_tokens
    assert totals.text_tokens + totals.visual_tokens == started.prompt_tokens
    assert (totals.encodes, totals.wire_bytes) == (1, totals.row_bytes)
    assert record.receipt.stages_ms.total > 0
    assert record.receipt.images[0].digest


async def test_a_call_past_its_deadline_has_a_record(house: House) -> None:
    message = endless()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in house.decoder.Generate(message, timeout=0.3):
            pass
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await the_record(house, message)).outcome == usage_pb2.OUTCOME_DEADLINE


def _not_served(message: decoder_pb2.GenerateRequest) -> None:
    message.tier = "small"


def _not_stored(message: decoder_pb2.GenerateRequest) -> None:
    message.messages[0].parts.add().image.digest = "sha256:" + "0" * 64


def _too_long(message: decoder_pb2.GenerateRequest) -> None:
    message.sampling.max_new_tokens = 1_000_000


@pytest.mark.parametrize("spoil", [_not_served, _not_stored, _too_long])
async def test_a_refused_call_has_a_record_with_its_reason(
    house: House, spoil: Callable[[Any], None]
) -> None:
    """Wherever it was refused: by the conversion, while images are looked up, by the engine's limits."""
    message = named(request("?"))
    spoil(message)
    refused = await failure(house.decoder.Generate(message, timeout=CALL_S))
    record = await the_record(house, message)
    assert (record.outcome, record.reason) == (usage_pb2.OUTCOME_REFUSED, refused.reason)
    assert record.receipt.totals == type(record.receipt.totals)()


async def test_a_message_that_cannot_be_read_leaves_a_record(house: House) -> None:
    before = await requests_counted(house)
    raw = house.decoder_side.channel.unary_unary("/fovea.decoder.v1.DecoderService/Complete")
    refused = await failure(raw(b"\xff\xff", timeout=CALL_S))
    (record,) = await records(house, refused.request_id)
    assert record.outcome == usage_pb2.OUTCOME_REFUSED
    assert await requests_counted(house) == before + 1


async def test_metrics_log_and_ledger_agree(house: House) -> None:
    async def tokens() -> float:
        samples = await scrape(house.decoder_side.metrics)
        counters = ("prompt_tokens", "generation_tokens", "prefix_cache_hits")
        return sum(samples.get((f"fovea_decoder_{name}_total", "", ""), 0.0) for name in counters)

    before = await tokens()
    message = endless(picture(seed=9003))
    with structlog.testing.capture_logs() as lines:
        call = house.decoder.Generate(message)
        for _ in range(4):
            await call.read()
        call.cancel()
        totals = (await the_record(house, message)).receipt.totals
    (logged,) = [line for line in lines if line["event"] == "receipt" and line["outcome"] == "cancelled"]
    assert logged["totals"]["output_tokens"] == totals.output_tokens
    later = [
        line["totals"] for line in lines if line["event"] == "receipt" and line["outcome"] != "cancelled"
    ]
    kinds = ("text_tokens", "visual_tokens", "cached_prompt_tokens", "output_tokens")
    spent = sum(getattr(totals, kind) for kind in kinds) + sum(line[kind] for line in later for kind in kinds)
    assert await tokens() - before == spent


async def requests_counted(house: House) -> float:
    return (await scrape(house.decoder_side.metrics)).get(("fovea_decoder_requests_total", "", ""), 0.0)


async def test_sums_and_pages_over_the_wire(house: House) -> None:
    message = named(request("?", [picture(seed=9004)], max_new_tokens=2))
    await house.ask(message)
    record = await the_record(house, message)
    window = usage_pb2.UsageFilter(start_time=record.start_time)
    listed = await house.usage.ListUsage(
        usage_pb2.ListUsageRequest(filter=window, page_size=1), timeout=CALL_S
    )
    assert len(listed.records) == 1
    second = usage_pb2.ListUsageRequest(filter=window, page_size=1, page_token=listed.next_page_token)
    assert (await house.usage.ListUsage(second, timeout=CALL_S)).records[0] == record
    asked = usage_pb2.SummarizeUsageRequest(filter=window, by=usage_pb2.USAGE_DIMENSION_IMAGE_KIND)
    sums = (await house.usage.SummarizeUsage(asked, timeout=CALL_S)).summaries
    assert sum(summary.requests for summary in sums) == 2
    assert sum(summary.visual_tokens for summary in sums) == record.receipt.totals.visual_tokens


async def test_the_python_client_reads_the_ledger(house: House) -> None:
    async with AsyncClient(house.decoder_side.address) as client:
        answer = await client.ask("?", [picture(seed=9005)], sampling=Sampling(max_new_tokens=2))
        await records(house, answer.request_id)
        (record,) = await client.get_usage(answer.request_id)
        assert record.receipt == answer.receipt
        assert record.image_kind == answer.receipt.images[0].kind.value
        window = {"tenant": "default", "start": record.started}
        assert [each async for each in client.list_usage(**window)] == [record]
        (summary,) = await client.summarize_usage("tenant", **window)
        assert (summary.key, summary.requests) == ("default", 1)
        assert summary.output_tokens == answer.receipt.totals.output_tokens
        assert not [each async for each in client.list_usage(**window, outcome="failed")]


async def test_a_long_list_is_fetched_page_by_page(house: House) -> None:
    """Refused requests are quick to make; a page has 100 records."""
    message = named(request("?"))
    message.tier = "small"
    for _ in range(130):
        await failure(house.decoder.Generate(message, timeout=CALL_S))
    await records(house, message.request_id, 100)
    async with AsyncClient(house.decoder_side.address) as client, asyncio.timeout(PATIENCE_S):
        own: list[usage_pb2.UsageRecord] = []
        while len(own) < 130:
            listed = [each async for each in client.list_usage(outcome="refused")]
            own = [each for each in listed if each.request_id == message.request_id]
            await asyncio.sleep(0.05)
    assert len(own) == len({each.id for each in own}) == 130


async def test_both_services_export_their_version_and_their_process(house: House) -> None:
    for service in (house.encoder_side, house.decoder_side):
        samples = await scrape(service.metrics)
        assert samples["fovea_build_info", "", ""] == 1
        assert samples["process_resident_memory_bytes", "", ""] > 0


PROMISED = {
    "fovea_build_info": "gauge", "process_resident_memory_bytes": "gauge", "process_cpu_seconds": "counter",
    "process_open_fds": "gauge", "process_start_time_seconds": "gauge", "grpc_server_handled": "counter",
    "grpc_server_started": "counter", "grpc_server_handling_seconds": "histogram",
    "fovea_server_memory_used_bytes": "gauge", "fovea_server_memory_limit_bytes": "gauge",
}  # fmt: skip
OF_ENCODER = {
    "store_bytes": "gauge", "store_records": "gauge", "store_puts": "counter", "store_evictions": "counter",
    "store_hits": "counter", "store_misses": "counter", "store_failed_checks": "counter", "store_errors": "counter",
    "stage_seconds": "histogram", "row_bytes": "counter", "encodes": "counter", "batches": "counter",
}  # fmt: skip
OF_DECODER = {
    "requests": "counter", "prompt_tokens": "counter", "generation_tokens": "counter", "prefix_cache_queries": "counter",
    "prefix_cache_hits": "counter", "time_to_first_token_seconds": "histogram", "inter_token_latency_seconds": "histogram",
    "request_time_per_output_token_seconds": "histogram", "e2e_request_latency_seconds": "histogram",
    "request_queue_time_seconds": "histogram", "request_encode_time_seconds": "histogram", "encoder_up": "gauge",
    "num_preemptions": "counter", "kv_cache_usage_perc": "gauge", "ledger_written": "counter", "ledger_dropped": "counter",
    "ledger_up": "gauge", "ledger_waiting": "gauge", "limit_ledger_queue": "gauge", "quota_refused": "counter",
    "quota_nearly_used": "counter", "quota_unchecked": "counter", "anomalies": "counter",
}  # fmt: skip


async def test_every_promised_metric_is_exported_with_its_type(house: House) -> None:
    sides = (
        (house.encoder_side, {f"fovea_encoder_{name}": kind for name, kind in OF_ENCODER.items()}),
        (house.decoder_side, {f"fovea_decoder_{name}": kind for name, kind in OF_DECODER.items()}),
    )
    for service, own in sides:
        families = await metric_families(service.metrics)
        assert {name: families[name].type for name in PROMISED | own if name in families} == PROMISED | own


async def test_the_time_between_tokens_is_observed_for_each_token_and_once_an_answer(house: House) -> None:
    names = ("request_time_per_output_token_seconds", "inter_token_latency_seconds")

    async def observed() -> list[float]:
        """Number and sum of both."""
        samples = await scrape(house.decoder_side.metrics)
        return [
            samples[f"fovea_decoder_{name}_{kind}", "", ""] for name in names for kind in ("count", "sum")
        ]

    before = await observed()
    receipt = (await house.ask(request(LONG_WINDED, max_new_tokens=12))).finished.receipt
    gaps, decode_s = receipt.totals.output_tokens - 1, receipt.stages_ms.decode / 1000
    assert gaps > 1
    grown = [now - then for now, then in zip(await observed(), before, strict=True)]
    assert grown == pytest.approx([1, decode_s / gaps, gaps, decode_s])


async def test_totals_are_counters_and_every_text_says_what_is_counted(house: House) -> None:
    """A gauge holds a level: nothing that counts events since the start."""
    for service in (house.encoder_side, house.decoder_side):
        families = await metric_families(service.metrics)
        own = {name: family for name, family in families.items() if name.startswith("fovea_")}
        assert own
        for name, family in own.items():
            assert len(family.documentation.split()) > 1, name
            assert family.type != "gauge" or not name.endswith(EVENTS), name
            assert family.type == "counter" or "since the start" not in family.documentation, name


async def test_the_encoder_exports_its_store(house: House) -> None:
    def stored(families: dict[str, Metric], field: str) -> dict[str, float]:
        samples = families[f"fovea_encoder_store_{field}"].samples
        return {sample.labels["partition"]: sample.value for sample in samples}

    before = await metric_families(house.encoder_side.metrics)
    await house.ask(request("?", [picture(96, 64, seed=917)], max_new_tokens=2))
    after = await metric_families(house.encoder_side.metrics)
    for partition in ("rows", "uploads"):
        assert stored(after, "puts")[partition] == stored(before, "puts")[partition] + 1
        assert stored(after, "bytes")[partition] > stored(before, "bytes")[partition]
    assert stored(after, "evictions") == {"rows": 0, "uploads": 0}
    up = (await metric_families(house.decoder_side.metrics))["fovea_decoder_encoder_up"]
    assert [sample.value for sample in up.samples] == [1]
