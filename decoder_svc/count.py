"""Builds the CountTokens result of a prepared request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from decoder_svc.budget.planned import PlannedImage
from decoder_svc.images.prepare import PreparedRequest
from fovea.contract.count import Alternative, Count, PlannedCount, Quote
from fovea.planning.counting import count_tokens


def build_count(
    prepared: PreparedRequest,
    measures: Mapping[str, Any],
    prefill_ms: float,
    row_bytes: int,
    alternatives: Sequence[Alternative],
    quote: Quote | None,
) -> Count:
    """`measures` are the fields shared with `Alternative`; `row_bytes` is the size of a single row."""
    images = prepared.images
    return Count(
        prompt_tokens=prepared.cost.prompt_tokens,
        text_tokens=prepared.cost.text_tokens,
        images=tuple(count_tokens(image.traits.size, image.planned, row_bytes) for image in images),
        plans=tuple(map(_planned, images)),
        prefill_ms=prefill_ms,
        alternatives=tuple(alternatives),
        quote=quote,
        **measures,
    )


def _planned(image: PlannedImage) -> PlannedCount:
    kept = () if image.kept is None or image.referred else tuple(image.kept.tolist())
    return PlannedCount(image.steps, image.tokens, image.tokens_min, image.repeat_of, kept)
