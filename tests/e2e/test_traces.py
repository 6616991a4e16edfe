"""A trace runs from the caller through both services to a collector that speaks OTLP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from fovea.server import tracing
from fovea.server.tracing import open_traces
from tests.e2e.house import CALL_S, House, read, request, running
from tests.e2e.pictures import picture

DECODER, ENCODER = "fovea.decoder.v1.DecoderService", "fovea.encoder.v1.EncoderService"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT = "Which zebra is purple?"
STAGES = ("queue", "encode", "transfer", "prefill", "decode")


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans of each service, by the service's name."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {}
        self.sent = b""

    async def Export(self, request, context):
        self.sent += request.SerializeToString()
        for resource in request.resource_spans:
            (name,) = [
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            ]
            for scope in resource.scope_spans:
                self.spans.setdefault(name, []).extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, service: str, name: str, kind: Span.SpanKind = Span.SPAN_KIND_INTERNAL) -> list[Span]:
        return [span for span in self.spans[service] if (span.name, span.kind) == (name, kind)]


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    """A collector and its endpoint."""
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def traced(model: Path, cache: Path, endpoint: str, **changes) -> AsyncIterator[House]:
    both = {"otel_endpoint": endpoint} | changes
    async with running(model, cache, encoder_changes=both, decoder_changes=both) as house:
        yield house


def attributes(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def test_a_trace_runs_through_both_services_with_the_stages_of_the_receipt(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "a-request"))
    async with (
        collecting() as (collector, endpoint),
        traced(checkpoint("moe"), tmp_path, endpoint) as house,
    ):
        message = request(PROMPT, [picture(seed=9301)], max_new_tokens=6)
        answered = await read(house.decoder.Generate(message, metadata=metadata, timeout=CALL_S))
    trace = bytes.fromhex(TRACE)
    (call,) = collector.named("fovea-decoder", f"{DECODER}/Generate", Span.SPAN_KIND_SERVER)
    assert (call.trace_id, call.parent_span_id) == (trace, bytes.fromhex(PARENT))
    noted = attributes(call)
    totals, stages_ms = answered.finished.receipt.totals, answered.finished.receipt.stages_ms
    assert noted["rpc.grpc.status_code"] == 0
    assert noted["fovea.request_id"] == "a-request"
    assert noted["fovea.output_tokens"] == totals.output_tokens

    (asked,) = collector.named("fovea-decoder", f"{ENCODER}/Encode", Span.SPAN_KIND_CLIENT)
    (served,) = collector.named("fovea-encoder", f"{ENCODER}/Encode", Span.SPAN_KIND_SERVER)
    assert (asked.trace_id, asked.parent_span_id) == (trace, call.span_id)
    assert (served.trace_id, served.parent_span_id) == (trace, asked.span_id)
    assert attributes(served)["fovea.source"] == "encoded"
    assert attributes(served)["fovea.tower_ms"] > 0
    (put,) = collector.named("fovea-encoder", f"{ENCODER}/PutImage", Span.SPAN_KIND_SERVER)
    assert put.trace_id == trace

    for name in STAGES:
        (stage,) = collector.named("fovea-decoder", name)
        assert (stage.trace_id, stage.parent_span_id) == (trace, call.span_id)
        took_ms = (stage.end_time_unix_nano - stage.start_time_unix_nano) / 1e6
        assert took_ms == pytest.approx(getattr(stages_ms, name), abs=1.0)  # the clocks of a process drift
        assert call.start_time_unix_nano <= stage.start_time_unix_nano + 1_000_000
        assert stage.end_time_unix_nano <= call.end_time_unix_nano + 1_000_000


async def test_a_failed_call_is_an_error_with_its_reason_and_a_refused_one_is_not(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    async with (
        collecting() as (collector, endpoint),
        traced(checkpoint("moe"), tmp_path, endpoint) as house,
    ):
        refused = request("?", ["sha256:" + "0" * 64])
        with pytest.raises(grpc.aio.AioRpcError):
            await read(house.decoder.Generate(refused, timeout=CALL_S))
        late = request("Tell me 41 things.", max_new_tokens=400)
        late.response_format.regex = "[ab]{1000}"
        with pytest.raises(grpc.aio.AioRpcError):
            await read(house.decoder.Generate(late, timeout=0.3))
    spans = {attributes(span)["fovea.outcome"]: span for span in
             collector.named("fovea-decoder", f"{DECODER}/Generate", Span.SPAN_KIND_SERVER)}  # fmt: skip
    assert spans.keys() == {"refused", "deadline"}
    assert attributes(spans["refused"])["fovea.reason"] == "IMAGE_NOT_STORED"
    assert spans["refused"].status.code == Status.STATUS_CODE_UNSET
    assert spans["deadline"].status.code == Status.STATUS_CODE_ERROR
    assert spans["deadline"].trace_id != spans["refused"].trace_id


async def test_no_span_holds_content_or_the_tenant(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    data = picture(seed=9302)
    async with (
        collecting() as (collector, endpoint),
        traced(checkpoint("moe"), tmp_path, endpoint) as house,
    ):
        answered = await house.ask(request(PROMPT, [data], max_new_tokens=8))
    digest = answered.finished.receipt.images[0].digest
    for secret in (
        PROMPT,
        "zebra",
        digest,
        digest.removeprefix("sha256:"),
        answered.text,
        "tenant",
        "authorization",
    ):
        assert secret.encode() not in collector.sent
    assert data[:64] not in collector.sent


async def test_calls_that_no_caller_made_are_not_traced(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Health checks, and the decoder's own checks of its encoders."""
    async with collecting() as (collector, endpoint), traced(checkpoint("moe"), tmp_path, endpoint):
        pass
    assert all(span.kind == Span.SPAN_KIND_SERVER for spans in collector.spans.values() for span in spans)
    names = {span.name for spans in collector.spans.values() for span in spans}
    assert names <= {f"{ENCODER}/GetServerInfo", f"{DECODER}/GetServerInfo"}


@pytest.mark.long
async def test_a_collector_that_is_absent_costs_no_answer_and_does_not_hold_up_the_end(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    async with asyncio.timeout(120):
        async with traced(checkpoint("moe"), tmp_path, "http://127.0.0.1:9") as house:
            assert (await house.ask(request("?", max_new_tokens=2))).finished


@pytest.mark.long
def test_without_the_setting_opentelemetry_is_not_imported() -> None:
    script = (
        "import sys, decoder_svc.app, encoder_svc.app; from fovea.server.tracing import open_traces;"
        "print(open_traces('', 'x'), sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "None []"


async def test_without_a_trace_a_call_carries_nothing_more() -> None:
    with tracing.traced_call(f"/{ENCODER}/Encode", "localhost:1") as carried:
        assert carried == ()


def test_a_setting_without_the_extra_is_refused_and_a_variable_is_only_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fovea.server.otel", None)
    with pytest.raises(ValueError, match=r"pip install 'fovea\[otel\]'"):
        open_traces("http://localhost:4317", "x")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    assert open_traces("", "x") is None
