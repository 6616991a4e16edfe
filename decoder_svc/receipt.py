"""Builds the receipt of a request from what it has used. Only adds up; decides nothing.

`RequestUsage` fills while the request runs, so a request that is cancelled or fails has a receipt too.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.tariff import Spend, Tariff
from decoder_svc.encoders.source import FetchReport, RowFetch
from decoder_svc.engine.protocol import Delta, EngineProgress, EngineTimings, Prompt, Usage
from decoder_svc.images.prepare import PreparedRequest
from fovea.contract.errors import QuoteExceeded
from fovea.contract.receipt import ImageReceipt, Price, Receipt, Stages, Tier, Totals
from fovea.contract.row_stream import RowPlacement
from fovea.contract.rows import RowLayout, RowOrigin

NOTHING_USED = Receipt((), Totals(), Stages())
SUMMED = (
    "visual_tokens", "text_tokens", "cached_prompt_tokens", "output_tokens", "encodes", "wire_bytes",
    "patches",
)  # fmt: skip
"""Totals that add up over the attempts at a request; of the others the largest counts."""
ROUNDING = 1e-9


async def _reserve_nothing(most: Spend) -> None:
    """For a tenant without a quota."""


async def _nothing_later() -> Spend:
    """For a request that no other tier may answer."""
    return Spend()


@dataclass(frozen=True)
class Hop:
    """A tier that was tried, and why it passed the request on or answered."""

    tier: str
    reason: str


@dataclass
class RequestUsage:
    """What a request has used so far, in several attempts if tiers pass it on or an encoder changes.

    `reserve` takes the most that the request may spend, before it is dispatched, and raises QuotaExceeded.
    `quote` is the most that the caller was told. `later` is the most that the tiers after the current tier
    may spend. `charge_key` is shared by the retries of a call that is charged once; empty if it has no key.
    `hops` are the tiers that have passed the request on, and why; `tier` is the current tier. `model` and
    `answered` are those of the answer: its model, and how it ended.

    The other fields are those of the current attempt. `fetches` are in the order of the distinct images.
    `submitted_ms` counts from the call to the submission to the engine. `last` is the latest delta.
    `token_gaps_s` are the seconds between tokens; those that come in one delta share their mean. `progress`
    is what the engine computed of an answer that was cut. `receipt` is valid once the attempt has ended.
    """

    began: float = field(default_factory=time.monotonic)
    reserve: Callable[[Spend], Awaitable[None]] = _reserve_nothing
    later: Callable[[], Awaitable[Spend]] = _nothing_later
    charge_key: str = ""
    parent_request_id: str = ""
    quote: Spend | None = None
    admitted: Spend | None = None
    hops: list[Hop] = field(default_factory=list)
    tier: str = ""
    model: str = ""
    answered: str = ""
    given_up: list[Receipt] = field(default_factory=list)
    prepared: PreparedRequest | None = None
    prompt: Prompt | None = None
    layout: RowLayout | None = None
    fetches: Sequence[RowFetch] = ()
    submitted_ms: float = 0.0
    last: Delta | None = None
    token_gaps_s: list[float] = field(default_factory=list)
    progress: EngineProgress = field(default_factory=EngineProgress)
    receipt: Receipt = NOTHING_USED

    async def admit(self, most: Spend, currency: str) -> None:
        """Admit an attempt that may spend this, before it is dispatched.

        The first attempt is admitted with all that later tiers may spend, so that nothing is spent on a
        request that could not be completed. Raises QuoteExceeded or QuotaExceeded.
        """
        needed, admitted = self.spent + most, self.admitted or Spend()
        if self.admitted is None and self._is_bounded:
            needed += await self.later()
        if needed.tokens <= admitted.tokens and not _exceeds(needed.amount, admitted.amount):
            return
        if self.quote is not None and needed.tokens > self.quote.tokens:
            raise QuoteExceeded("tokens", self.quote.tokens, needed.tokens)
        if self.quote is not None and _exceeds(needed.amount, self.quote.amount):
            raise QuoteExceeded(currency, self.quote.amount, needed.amount)
        more = Spend(max(0, needed.tokens - admitted.tokens), max(0.0, needed.amount - admitted.amount))
        await self.reserve(more)
        self.admitted = admitted + more

    def may_spend(self, most: Spend) -> bool:
        """Whether the quote has room for another attempt that may spend this."""
        needed = self.spent + most
        return self.quote is None or not (
            needed.tokens > self.quote.tokens or _exceeds(needed.amount, self.quote.amount)
        )

    @property
    def _is_bounded(self) -> bool:
        return self.quote is not None or self.reserve is not _reserve_nothing

    @property
    def spent(self) -> Spend:
        """What the attempts that were given up have spent."""
        return sum((spend_of(receipt) for receipt in self.given_up), Spend())

    def give_up(self) -> None:
        """Begin another attempt. What the current attempt has spent, by its receipt, is kept."""
        if self.receipt is not NOTHING_USED:
            self.given_up.append(self.receipt)
        self.receipt, self.prepared, self.prompt, self.layout = NOTHING_USED, None, None, None
        self.fetches, self.submitted_ms = (), 0.0
        self.last, self.token_gaps_s, self.progress = None, [], EngineProgress()

    def note(self, delta: Delta) -> None:
        """Take the next delta of the answer. The first token has no gap, but may share its delta."""
        before, count = self.timings, len(delta.token_ids)
        gaps = count if before.ttft_ms else count - 1
        if gaps > 0:
            gap_s = (delta.timings.decode_ms - before.decode_ms) / gaps / 1000
            self.token_gaps_s += [max(0.0, gap_s)] * gaps
        self.last = delta

    def total(self) -> Receipt:
        """The receipt of the request: of its last attempt, with the path and the spend of all attempts."""
        attempts = [*self.given_up, self.receipt]
        return replace(
            self.receipt,
            images=next((attempt.images for attempt in reversed(attempts) if attempt.images), ()),
            totals=_sum([attempt.totals for attempt in attempts]),
            price=_sum_prices([attempt.price for attempt in attempts]),
            tier=self._path(),
            degraded=any(attempt.degraded for attempt in attempts),
        )

    def _path(self) -> Tier:
        """The current tier ends the path: it has answered, or the request ended there."""
        hops = list(self.hops)
        if self.tier and (not hops or hops[-1].tier != self.tier):
            hops.append(Hop(self.tier, ""))
        reasons = tuple(hop.reason for hop in hops)
        return Tier(tuple(hop.tier for hop in hops), reasons[-1] if reasons else "", reasons)

    def elapsed_ms(self) -> float:
        """Milliseconds since the call."""
        return (time.monotonic() - self.began) * 1000

    @property
    def finish_reason(self) -> str:
        """`stop` or `length`; empty while the answer runs and after it was cut."""
        reason = self.last.finish_reason if self.last else None
        return reason if reason in ("stop", "length") else ""

    @property
    def timings(self) -> EngineTimings:
        return self.last.timings if self.last else EngineTimings()

    @property
    def usage(self) -> Usage:
        """Tokens that the engine has read and written. Of a cut prompt only the part that was read."""
        if self.last is not None and self.finish_reason:
            return self.last.usage
        done = self.progress
        return Usage(done.prompt_tokens, done.cached_prompt_tokens, done.output_tokens)


def spend_of(receipt: Receipt) -> Spend:
    """What counts against quotas and quotes."""
    totals = receipt.totals
    return Spend(totals.text_tokens + totals.visual_tokens + totals.output_tokens, receipt.price.amount)


def _exceeds(amount: float, limit: float) -> bool:
    """Whether an amount is above a limit by more than rounding: sums depend on their order."""
    return amount > limit * (1 + ROUNDING)


def _sum(totals: Sequence[Totals]) -> Totals:
    sums = {name: sum(getattr(attempt, name) for attempt in totals) for name in SUMMED}
    rest = Totals.__dataclass_fields__.keys() - sums
    return Totals(**sums, **{name: max(getattr(attempt, name) for attempt in totals) for name in rest})


def _sum_prices(prices: Sequence[Price]) -> Price:
    """Amounts add up. Each naive amount is for the whole request, so the largest counts."""
    currency = next((price.currency for price in prices if price.currency), "")
    return Price(sum(price.amount for price in prices), currency, max(price.naive_amount for price in prices))


def most_spend(prepared: PreparedRequest, tariff: Tariff) -> Spend:
    """The most that a request may spend: no prefix hit, every image encoded, the longest answer."""
    cost = prepared.cost
    patches = sum(image.planned.patches for image in prepared.distinct)
    output = prepared.request.sampling.token_limit
    return tariff.most(Totals(cost.visual_tokens, 0, cost.text_tokens, 0, output, patches=patches))


def build_receipt(used: RequestUsage, tariff: Tariff) -> Receipt:
    """The receipt of what the current attempt has used by now."""
    prepared = used.prepared
    if prepared is None:
        return replace(NOTHING_USED, stages_ms=Stages(total=used.elapsed_ms()))
    reports = [
        _merge_reports(report, prepared.placements.get(number), used.usage)
        for number, report in enumerate(_reports(prepared, used))
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
        price=tariff.price(totals, _visual_before(used.prompt, totals.cached_prompt_tokens)),
        degraded=prepared.degraded,
    )


def _reports(prepared: PreparedRequest, used: RequestUsage) -> list[FetchReport]:
    """The report of each distinct image; empty reports before the fetches exist."""
    return [fetch.report for fetch in used.fetches] or [FetchReport() for _ in prepared.distinct]


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
    visual = _visual_before(used.prompt, usage.prompt_tokens)
    finished = bool(used.finish_reason)
    return Totals(
        visual_tokens=cost.visual_tokens if finished else visual,
        naive_visual_tokens=sum(image.tokens_full for image in images),
        text_tokens=cost.text_tokens if finished else usage.prompt_tokens - visual,
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


def _visual_before(prompt: Prompt | None, end: int) -> int:
    """Visual tokens among the first `end` tokens of the prompt."""
    return sum(max(0, min(image.end, end) - image.start) for image in prompt.images) if prompt else 0


def _stages(reports: Sequence[FetchReport], used: RequestUsage) -> Stages:
    return Stages(
        queue=used.timings.queue_ms,
        encode=max((report.encode_ms for report in reports), default=0.0),
        transfer=max((report.transfer_ms for report in reports), default=0.0),
        prefill=used.timings.prefill_ms,
        ttft=used.submitted_ms + used.timings.ttft_ms if used.timings.ttft_ms else 0.0,
        decode=used.timings.decode_ms,
        total=used.elapsed_ms(),
    )
