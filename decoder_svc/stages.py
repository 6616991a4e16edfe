"""The stages of a request in its trace, at the times from which its receipt takes their lengths."""

from __future__ import annotations

from collections.abc import Iterator

from decoder_svc.receipt import RequestUsage
from fovea.contract.usage import UsageRecord
from fovea.server.tracing import current_span

COUNTED = ("text_tokens", "visual_tokens", "cached_prompt_tokens", "output_tokens", "encodes")


def trace_stages(used: RequestUsage, record: UsageRecord) -> None:
    """Add the stages of a request that has ended, its outcome and its tokens, to the span of its call."""
    span = current_span()
    if span is None:
        return
    totals = record.receipt.totals
    counts = {f"fovea.{name}": getattr(totals, name) for name in COUNTED}
    span.note({"fovea.outcome": record.outcome.value, "fovea.model": record.model, **counts})
    for name, begin, end in stages(used):
        span.add_stage(name, begin, end)


def stages(used: RequestUsage) -> Iterator[tuple[str, float, float]]:
    """Name, begin and end of each stage, in seconds of the monotonic clock.

    Encode and transfer are of an image each, and may overlap. Of a prefill that has waited for rows, the end
    is exact. A request that was cut before its first token has no stages in the engine.
    """
    for fetch in used.fetches:
        report = fetch.report
        if report.asked:
            yield "encode", report.asked, report.asked + report.encode_ms / 1000
            yield "transfer", report.received, report.received + report.transfer_ms / 1000
    timings = used.timings
    if not timings.ttft_ms:
        return
    submitted = used.began + used.submitted_ms / 1000
    first = submitted + timings.ttft_ms / 1000
    yield "queue", submitted, submitted + timings.queue_ms / 1000
    yield "prefill", first - timings.prefill_ms / 1000, first
    yield "decode", first, first + timings.decode_ms / 1000
