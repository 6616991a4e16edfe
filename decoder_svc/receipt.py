"""Builds the receipt of an answer from what the request used. Only adds up; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.tariff import Tariff
from decoder_svc.encoders.source import FetchReport
from decoder_svc.engine.protocol import EngineTimings, Prompt, Usage
from decoder_svc.images.prepare import PreparedRequest
from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Tier, Totals
from fovea.contract.row_stream import RowPlacement
from fovea.contract.rows import RowLayout, RowOrigin


@dataclass(frozen=True)
class RequestUsage:
    """What an answer used: the prompt, the fetch of each distinct image, the engine's usage and timings.

    Milliseconds from the call: `submitted_ms` to submission to the engine, `total_ms` to the last token.
    """

    prompt: Prompt
    layout: RowLayout | None
    reports: Sequence[FetchReport]
    usage: Usage
    timings: EngineTimings
    submitted_ms: float
    total_ms: float


def build_receipt(prepared: PreparedRequest, used: RequestUsage, model: str, tariff: Tariff) -> Receipt:
    """The receipt of an answer; `used.reports` are in the order of the distinct images."""
    reports = [
        _merge_reports(report, prepared.placements.get(number), used.usage)
        for number, report in enumerate(used.reports)
    ]
    dtype = used.layout.dtype.value if used.layout else ""
    images = tuple(
        _image(image, _report_at(image, reports[prepared.repeats.number(place)]), dtype)
        for place, image in enumerate(prepared.images)
    )
    totals = _totals(prepared, used, reports)
    return Receipt(
        images,
        totals,
        _stages(reports, used),
        Tier((model,), "only tier"),
        tariff.price(totals, _cached_visual(used)),
        prepared.degraded,
    )


def _merge_reports(report: FetchReport, placement: RowPlacement | None, usage: Usage) -> FetchReport:
    """Merge the reports of PlaceRows and of the fetch: PlaceRows runs the tower if the kept rows need it.

    Rows that were never fetched are prefix hits: their keys and values were in the KV cache.
    """
    if placement is not None and placement.header.origin is RowOrigin.ENCODED:
        merged = replace(report, encode_ms=placement.timings["total_ms"] + report.encode_ms)
        merged.note_header(placement.header)
        return merged
    unused = report.origin is RowOrigin.NONE and usage.cached_prompt_tokens
    return replace(report, origin=RowOrigin.PREFIX) if unused else report


def _report_at(image: PlannedImage, report: FetchReport) -> FetchReport:
    """The report for a place of the image: a repeat reuses the first copy's rows, a reference has none."""
    if image.referred:
        return FetchReport()
    if image.repeat_of is None:
        return report
    origin = RowOrigin.STORE if report.origin is RowOrigin.ENCODED else report.origin
    return FetchReport(origin, row_bytes=report.row_bytes, rows_digest=report.rows_digest)


def _image(image: PlannedImage, report: FetchReport, dtype: str) -> ImageReceipt:
    return ImageReceipt(
        digest=image.digest,
        original=image.traits.size,
        planned=(image.planned.width, image.planned.height),
        grid_thw=image.planned.grid_thw,
        patches=image.planned.patches,
        tokens_full=image.tokens_full,
        tokens=image.tokens,
        steps=image.steps,
        source=report.origin,
        encoder=report.encoder,
        dtype=dtype,
        row_bytes=report.row_bytes,
        wire_bytes=report.wire_bytes,
        rows_digest=report.rows_digest,
        repeat_of=image.repeat_of,
        kind=image.traits.kind,
    )


def _totals(prepared: PreparedRequest, used: RequestUsage, reports: Sequence[FetchReport]) -> Totals:
    cost, images, usage = prepared.cost, prepared.images, used.usage
    encoded = [report.origin is RowOrigin.ENCODED and not report.joined for report in reports]
    return Totals(
        visual_tokens=cost.visual_tokens,
        naive_visual_tokens=sum(image.tokens_full for image in images),
        text_tokens=cost.text_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
        output_tokens=usage.output_tokens,
        encodes=sum(encoded),
        wire_bytes=sum(report.wire_bytes for report in reports),
        row_bytes=cost.rows * (used.layout.row_bytes if used.layout else 0),
        patches=sum(image.patches for image, here in zip(prepared.distinct, encoded, strict=True) if here),
        naive_patches=sum(
            image.tokens_full * image.planned.patches // image.planned.tokens for image in images
        ),
    )


def _cached_visual(used: RequestUsage) -> int:
    """Visual tokens among the prompt tokens from the KV cache."""
    cached = used.usage.cached_prompt_tokens
    return sum(max(0, min(image.end, cached) - image.start) for image in used.prompt.images)


def _stages(reports: Sequence[FetchReport], used: RequestUsage) -> Stages:
    return Stages(
        queue=used.timings.queue_ms,
        encode=max((report.encode_ms for report in reports), default=0.0),
        transfer=max((report.transfer_ms for report in reports), default=0.0),
        prefill=used.timings.prefill_ms,
        ttft=used.submitted_ms + used.timings.ttft_ms,
        decode=used.timings.decode_ms,
        total=used.total_ms,
    )
