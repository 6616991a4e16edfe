"""The plans of an image from low to high detail, as the page's slider shows them.

Every number comes from CountTokens; only the budgets to ask for are chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from fovea.client import AsyncClient, Budget, Count, Image, Message, ServerInfo, Size
from fovea.contract.budget import Detail, ReductionMode
from fovea.contract.image import ImageFacts
from fovea.geometry import Geometry
from fovea.planning.detail import LOW_TOKENS
from fovea.planning.sizes import smallest

STEPS_BETWEEN = 4
"""Sizes between the lowest and the highest detail, at equal ratios of tokens."""


@dataclass(frozen=True)
class PlanQuestion:
    """What the page asks: an image, stored or given by its size, the question, and how tokens are dropped."""

    source: str | Size
    question: str = ""
    flat: bool = False
    reduction: ReductionMode | None = None

    @property
    def base(self) -> Budget:
        """The budget of every stop, without its size."""
        return Budget(reduction=self.reduction, flat_tolerance=0 if self.flat else None)

    @property
    def messages(self) -> list[Message]:
        parts: list[str | Image] = [Image(self.source)]
        return [Message("user", [*parts, self.question] if self.question else parts)]


@dataclass(frozen=True)
class Stop:
    """A position of the slider: a budget, its names and its cost."""

    names: tuple[str, ...]
    budget: Budget
    count: Count

    @property
    def cells(self) -> int:
        return self.count.images[0].tokens

    def as_json(self, facts: ImageFacts | None, readable_px: float) -> dict[str, Any]:
        (image,), (plan,) = self.count.images, self.count.plans
        count, geometry = self.count, Geometry()
        return {
            "names": self.names,
            "budget": budget_json(self.budget),
            "original": image.original,
            "planned": image.planned,
            "columns": image.grid_thw[2] // geometry.merge,
            "rows": image.grid_thw[1] // geometry.merge,
            "cells": image.tokens,
            "tokens": plan.tokens,
            "tokens_min": plan.tokens_min,
            "kept": plan.kept,
            "steps": [vars(step) for step in plan.steps],
            "prompt_tokens": count.prompt_tokens,
            "prefill_ms": count.prefill_ms,
            "fits_context": count.fits_context,
            "price": _price(count),
            "text": _text(image.original[1], image.planned[1], facts, readable_px),
        }


async def server_plan(client: AsyncClient, asked: PlanQuestion) -> Stop:
    """The plan under the server's own defaults."""
    count = await client.count(asked.messages, budget=asked.base)
    return Stop(("default",), asked.base, count)


async def ladder(client: AsyncClient, asked: PlanQuestion, info: ServerInfo) -> list[Stop]:
    """The stops by increasing size. Calls run in sequence: a tenant may have a limit of requests."""
    stops = [await server_plan(client, asked)]
    for name, budget in _budgets(asked, stops[0].count.images[0].original, info):
        count = await client.count(asked.messages, budget=budget)
        stops.append(Stop((name,) if name else (), budget, count))
    return _merged(stops)


def _budgets(asked: PlanQuestion, size: tuple[int, int], info: ServerInfo) -> list[tuple[str, Budget]]:
    limits = info.limits
    geometry = Geometry(min_pixels=limits["min_pixels"], max_pixels=limits["max_pixels"])
    base = {field.name: getattr(asked.base, field.name) for field in fields(Budget)}

    def of(**changes: Any) -> Budget:
        return Budget(**base | changes)

    chosen = [(detail.value, of(detail=detail)) for detail in Detail]
    low = geometry.plan(*size, smallest(size, LOW_TOKENS, geometry)).tokens
    high = geometry.plan(*size, limits["default_max_pixels"]).tokens
    for at in range(1, STEPS_BETWEEN + 1):
        tokens = round(low * (high / low) ** (at / (STEPS_BETWEEN + 1)))
        pixels = geometry.largest_fitting(*size, max(1, tokens))
        chosen.append(("", of(detail=Detail.HIGH, max_pixels=geometry.within(pixels or 1))))
    full = of(detail=Detail.HIGH, max_pixels=limits["max_pixels"])
    return [*chosen, ("full", full)]


def _merged(stops: Sequence[Stop]) -> list[Stop]:
    """One stop per size, with all names, smallest first. Stops of equal size have equal costs."""
    by_size: dict[tuple[int, int], Stop] = {}
    for stop in stops:
        size = stop.count.images[0].planned
        held = by_size.get(size)
        by_size[size] = Stop((*held.names, *stop.names), held.budget, held.count) if held else stop
    return sorted(by_size.values(), key=lambda stop: (stop.cells, stop.count.images[0].planned))


def budget_json(budget: Budget) -> dict[str, Any]:
    """The decided fields."""
    values = {field.name: getattr(budget, field.name) for field in fields(Budget)}
    return {name: value for name, value in values.items() if value is not None}


def _price(count: Count) -> dict[str, Any] | None:
    """The most that the request may cost; None without a tariff, and for an image that is not stored."""
    if count.quote is None or not count.quote.currency:
        return None
    return {"most": count.quote.max_amount, "currency": count.quote.currency}


def _text(height: int, planned: int, facts: ImageFacts | None, readable_px: float) -> dict[str, Any] | None:
    """The height of the smallest common text after resizing; None if nothing was measured."""
    if facts is None:
        return None
    px = facts.text_height * planned / height
    return {"px": px, "readable_px": readable_px, "original_px": facts.text_height}
