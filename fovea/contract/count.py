"""The cost of images and requests, counted before anything runs: the values of CountTokens."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.contract import budget as budget_codec
from fovea.contract.budget import Budget
from fovea.contract.codec import pick
from fovea.contract.image import grid_to_proto, timestamp
from fovea.contract.receipt import Step, steps_from_proto, steps_to_proto
from fovea.decoder.v1 import decoder_pb2
from fovea.vision.v1 import image_pb2


@dataclass(frozen=True)
class TokenCount:
    """The cost of an image. Sizes are (width, height); `row_bytes` is the size of all its rows."""

    original: tuple[int, int]
    planned: tuple[int, int]
    grid_thw: tuple[int, int, int]
    patches: int
    tokens: int
    row_bytes: int


@dataclass(frozen=True)
class PlannedCount:
    """The planned changes to an image of a request, and the bounds of its visual tokens.

    `repeat_of` is the index of the earlier image that this image repeats. `kept` are the kept indices in
    raster order; empty if all tokens are kept, and while only the vision tower can tell which.
    """

    steps: tuple[Step, ...]
    tokens: int
    tokens_min: int
    repeat_of: int | None
    kept: tuple[int, ...] = ()


@dataclass(frozen=True)
class Alternative:
    """The cost of the same request under another budget. The other fields are those of `Count`.

    `budget` can be sent as it is.
    """

    name: str
    budget: Budget
    visual_tokens: int
    visual_tokens_min: int
    exact: bool
    row_bytes: int
    kv_bytes: int
    prefill_flops: float
    fits_context: bool


@dataclass(frozen=True)
class Quote:
    """The most that a request may cost. Sent back as `token` until it expires, in seconds since the epoch."""

    max_tokens: int
    max_amount: float = 0.0
    currency: str = ""
    token: str = ""
    expires: float = 0.0


@dataclass(frozen=True)
class Count:
    """The cost of a whole request. `fits_context` includes room for the answer.

    If `exact`, `visual_tokens` is what an answer would spend; otherwise it is the upper bound and
    `visual_tokens_min` the lower bound. `row_bytes` counts each distinct image once. `prefill_ms` is the
    recent prefill time for a prompt of this length, 0 if none was measured. `plans` and `images` have the
    same order.
    """

    prompt_tokens: int
    text_tokens: int
    visual_tokens: int
    visual_tokens_min: int
    exact: bool
    images: tuple[TokenCount, ...]
    plans: tuple[PlannedCount, ...]
    row_bytes: int
    kv_bytes: int
    prefill_flops: float
    prefill_ms: float
    fits_context: bool
    alternatives: tuple[Alternative, ...] = ()
    quote: Quote | None = None


def token_count_to_proto(count: TokenCount) -> image_pb2.TokenCount:
    return image_pb2.TokenCount(
        original=image_pb2.Size(width=count.original[0], height=count.original[1]),
        planned=image_pb2.Size(width=count.planned[0], height=count.planned[1]),
        grid=grid_to_proto(count.grid_thw),
        patches=count.patches,
        tokens=count.tokens,
        row_bytes=count.row_bytes,
    )


def token_count_from_proto(message: image_pb2.TokenCount) -> TokenCount:
    return TokenCount(
        original=(message.original.width, message.original.height),
        planned=(message.planned.width, message.planned.height),
        grid_thw=(message.grid.t, message.grid.h, message.grid.w),
        patches=message.patches,
        tokens=message.tokens,
        row_bytes=message.row_bytes,
    )


def count_to_proto(count: Count) -> decoder_pb2.CountTokensResponse:
    plain = {name: value for name, value in vars(count).items() if name not in _NESTED}
    return decoder_pb2.CountTokensResponse(
        images=[token_count_to_proto(image) for image in count.images],
        plans=[_plan_to_proto(plan) for plan in count.plans],
        alternatives=[_alternative_to_proto(alternative) for alternative in count.alternatives],
        quote=_quote_to_proto(count.quote) if count.quote else None,
        **plain,
    )


def count_from_proto(message: decoder_pb2.CountTokensResponse) -> Count:
    plain = pick(message, (name for name in Count.__dataclass_fields__ if name not in _NESTED))
    return Count(
        images=tuple(token_count_from_proto(image) for image in message.images),
        plans=tuple(_plan_from_proto(plan) for plan in message.plans),
        alternatives=tuple(_alternative_from_proto(alternative) for alternative in message.alternatives),
        quote=_quote_from_proto(message.quote) if message.HasField("quote") else None,
        **plain,
    )


_NESTED = ("images", "plans", "alternatives", "quote")
_QUOTED = ("token", "max_tokens", "max_amount", "currency")


def _quote_to_proto(quote: Quote) -> decoder_pb2.Quote:
    return decoder_pb2.Quote(expire_time=timestamp(quote.expires), **pick(quote, _QUOTED))


def _quote_from_proto(message: decoder_pb2.Quote) -> Quote:
    return Quote(expires=message.expire_time.ToNanoseconds() / 1e9, **pick(message, _QUOTED))


def _plan_to_proto(plan: PlannedCount) -> decoder_pb2.ImagePlan:
    return decoder_pb2.ImagePlan(
        steps=steps_to_proto(plan.steps),
        tokens=plan.tokens,
        tokens_min=plan.tokens_min,
        repeat_of=plan.repeat_of,
        kept=plan.kept,
    )


def _plan_from_proto(message: decoder_pb2.ImagePlan) -> PlannedCount:
    repeat_of = message.repeat_of if message.HasField("repeat_of") else None
    return PlannedCount(
        steps_from_proto(message.steps), message.tokens, message.tokens_min, repeat_of, tuple(message.kept)
    )


def _alternative_to_proto(alternative: Alternative) -> decoder_pb2.Alternative:
    plain = {name: value for name, value in vars(alternative).items() if name != "budget"}
    return decoder_pb2.Alternative(visual=budget_codec.to_proto(alternative.budget), **plain)


def _alternative_from_proto(message: decoder_pb2.Alternative) -> Alternative:
    plain = pick(message, (name for name in Alternative.__dataclass_fields__ if name != "budget"))
    return Alternative(budget=budget_codec.from_proto(message.visual), **plain)
