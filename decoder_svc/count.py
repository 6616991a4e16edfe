"""Builds the CountTokens result of a prepared request."""

from __future__ import annotations

from collections.abc import Sequence

from decoder_svc.budget.planned import PlannedImage
from decoder_svc.images.prepare import PreparedRequest
from decoder_svc.request import RequestCost, TokenCost
from fovea.contract.budget import Budget
from fovea.contract.count import Alternative, Count, PlannedCount
from fovea.planning.counting import count_tokens


def build_count(
    prepared: PreparedRequest,
    request_cost: RequestCost,
    prefill_ms: float,
    row_bytes: int,
    alternatives: Sequence[Alternative],
) -> Count:
    """`row_bytes` is the size of a single row."""
    cost = prepared.cost
    return Count(
        prompt_tokens=cost.prompt_tokens,
        text_tokens=cost.text_tokens,
        visual_tokens=cost.visual_tokens,
        visual_tokens_min=cost.visual_tokens_min,
        exact=cost.exact,
        images=tuple(count_tokens(image.traits.size, image.planned, row_bytes) for image in prepared.images),
        plans=tuple(_plan(image) for image in prepared.images),
        row_bytes=cost.rows * row_bytes,
        prefill_ms=prefill_ms,
        alternatives=tuple(alternatives),
        **vars(request_cost),
    )


def build_alternative(
    name: str, budget: Budget, cost: TokenCost, request_cost: RequestCost, row_bytes: int
) -> Alternative:
    return Alternative(
        name=name,
        budget=budget,
        visual_tokens=cost.visual_tokens,
        visual_tokens_min=cost.visual_tokens_min,
        exact=cost.exact,
        row_bytes=cost.rows * row_bytes,
        **vars(request_cost),
    )


def _plan(image: PlannedImage) -> PlannedCount:
    return PlannedCount(image.steps, image.tokens, image.tokens_min, image.repeat_of)
