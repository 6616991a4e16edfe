"""Random requests to the planner: whether a plan exceeds its budget or a processor would change its size.

Sizes, limits, ratios and image counts are drawn from typical requests and edge cases. The planner is a pure
function: no service runs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bench.bounds import mean
from bench.result import Measure
from bench.turns import ms_since
from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.planner import plan
from fovea.contract.errors import VisualBudgetExceeded
from fovea.contract.plan import Reducer
from fovea.geometry import Geometry
from fovea.planning.detail import Detail, ImageTraits

KINDS = ("TEXT", "GRAPHIC", "PHOTO", "UNSPECIFIED")


def measures(count: int, seed: int) -> dict[str, Measure]:
    """Plan random requests and check each plan against its budget and the processor's own arithmetic."""
    geometry = Geometry()
    over = changed = 0
    ms: list[float] = []
    for wanted, budget in _requests(random.Random(f"requests/{seed}"), count):
        begin = time.perf_counter()
        try:
            plans = plan(wanted, budget, geometry)
        except VisualBudgetExceeded:
            plans = []
        ms.append(ms_since(begin))
        over += _is_over(wanted, plans, budget)
        changed += any(_would_change(planned, geometry) for planned in plans)
    return {
        "over_budget": Measure("requests", over, count, target=0, sense="at most"),
        "changed_sizes": Measure("requests", changed, count, target=0, sense="at most"),
        "plan_ms": Measure("ms", float(np.percentile(ms, 99.9)), count, target=1.0, sense="at most"),
        "plan_mean_ms": Measure.of("ms", mean(ms, seed)),
    }


def _is_over(wanted: list[ImageTraits], plans: list[PlannedImage], budget: ServerBudget) -> bool:
    spent = sum(image.times * planned.sent for image, planned in zip(wanted, plans, strict=False))
    return bool(budget.max_visual_tokens) and spent > budget.max_visual_tokens


def _would_change(plan: PlannedImage, geometry: Geometry) -> bool:
    """Whether the processor would resize the planned size."""
    again = geometry.plan(plan.planned.width, plan.planned.height)
    return (again.width, again.height) != (plan.planned.width, plan.planned.height)


def _requests(rng: random.Random, count: int) -> Iterator[tuple[list[ImageTraits], ServerBudget]]:
    for _ in range(count):
        wanted = [replace(_look(rng), times=rng.choice((1, 1, 1, 2, 3))) for _ in range(rng.randint(1, 12))]
        yield wanted, _budget(rng)


def _look(rng: random.Random) -> ImageTraits:
    """Log-uniform sides up to 8,000 pixels, at most 100 times as long as wide."""
    width, height = (round(2 ** rng.uniform(3, 13)) for _ in range(2))
    width, height = min(width, 100 * height), min(height, 100 * width)
    text = rng.choice((0.0, rng.uniform(4, 120)))
    return ImageTraits(width, height, text, rng.random() ** 2, rng.choice(KINDS), rng.random() < 0.9)


def _budget(rng: random.Random) -> ServerBudget:
    return ServerBudget(
        max_pixels=rng.choice((1_310_720, 16_777_216, rng.randint(65_536, 16_777_216))),
        max_visual_tokens=rng.choice((None, rng.randint(64, 12_000))),
        detail=rng.choice(list(Detail)),
        min_tokens=rng.choice((0, 16, rng.randint(1, 600))),
        keep=rng.choice((1.0, 0.75, 0.5, rng.uniform(0.05, 1.0))),
        reducer=rng.choice(list(Reducer)),
        flat_tolerance=rng.choice((None, 0, 8)),
        max_short_side=rng.choice((None, 768)),
        max_long_side=rng.choice((None, 768)),
    )
