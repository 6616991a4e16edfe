"""From what happened to the receipt: adds up, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoder_svc.core import Timings, Usage
from decoder_svc.encoders.rows import FetchReport
from decoder_svc.request import Count, PlannedImage
from fovea.receipt import ImageReceipt, Receipt, Stages, Step, Tier, Totals


@dataclass(frozen=True)
class Clock:
    """Milliseconds from the call to its submission to the engine, and to the last token."""

    submitted_ms: float
    total_ms: float


def _steps(image: PlannedImage) -> tuple[Step, ...]:
    tokens = image.planned.tokens
    if tokens == image.tokens_full:
        return ()
    return (Step("resize", image.tokens_full, tokens, f"max_pixels {image.max_pixels}"),)


def _source(report: FetchReport, usage: Usage) -> str:
    """Rows that nobody fetched were not needed: their keys and values were in the cache."""
    return "prefix" if report.source == "none" and usage.cached_prompt_tokens else report.source


def _image(
    image: PlannedImage, report: FetchReport, source: str, dtype: str, repeat_of: int | None
) -> ImageReceipt:
    return ImageReceipt(
        digest=image.digest,
        original=(image.width, image.height),
        planned=(image.planned.width, image.planned.height),
        grid_thw=image.planned.grid_thw,
        patches=image.planned.patches,
        tokens_full=image.tokens_full,
        tokens=image.planned.tokens,
        steps=_steps(image),
        source=source,
        encoder=report.encoder,
        dtype=dtype,
        row_bytes=report.row_bytes,
        wire_bytes=report.wire_bytes,
        rows_digest=report.rows_digest,
        repeat_of=repeat_of,
    )


def _stages(reports: Sequence[FetchReport], timings: Timings, clock: Clock) -> Stages:
    return Stages(
        queue=timings.queue_ms,
        encode=max((report.encode_ms for report in reports), default=0.0),
        transfer=max((report.transfer_ms for report in reports), default=0.0),
        prefill=timings.prefill_ms,
        ttft=clock.submitted_ms + timings.ttft_ms,
        decode=timings.decode_ms,
        total=clock.total_ms,
    )


def receipt(
    count: Count,
    reports: Sequence[FetchReport],
    dtype: str,
    usage: Usage,
    timings: Timings,
    clock: Clock,
    model: str,
) -> Receipt:
    """The account of an answer; `reports` stand in the order of `count.images`."""
    digests = [image.digest for image in count.images]
    firsts = [digests.index(digest) for digest in digests]
    images = tuple(
        _image(image, report, _source(report, usage), dtype, first if first < at else None)
        for at, (image, report, first) in enumerate(zip(count.images, reports, firsts, strict=True))
    )
    totals = Totals(
        visual_tokens=count.visual_tokens,
        naive_visual_tokens=sum(image.tokens_full for image in count.images),
        text_tokens=count.text_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
        output_tokens=usage.output_tokens,
        encodes=sum(report.source == "encoded" and not report.joined for report in reports),
        wire_bytes=sum(report.wire_bytes for report in reports),
    )
    return Receipt(images, totals, _stages(reports, timings, clock), Tier((model,), "only tier"))
