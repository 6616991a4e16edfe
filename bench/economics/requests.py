"""Random requests to the planner: whether a plan is ever over its budget, or of a size that a processor
would change.

Sizes, limits, ratios and numbers of images are drawn from what callers send and from the edges of it. Asks no
service: the planner is a pure function.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.planner import ImagePlan, Wanted, plan
from decoder_svc.errors import VisualBudgetExceeded
from fovea.contract.plan import Reducer
from fovea.geometry import Geometry
from fovea.planning.detail import Detail, ImageTraits

KINDS = ("TEXT", "GRAPHIC", "PHOTO", "UNSPECIFIED")


@dataclass(frozen=True)
class Found:
    """Of how many requests; `seconds` a request, of those that were planned and of those refused."""

    requests: int
    over: int
    moved: int
    refused: int
    seconds: tuple[float, ...]


def planned(count: int, seed: int) -> Found:
    """Plan `count` random requests and hold each plan to its budget and to the processor's own arithmetic."""
    geometry = Geometry()
    over = moved = refused = 0
    seconds: list[float] = []
    for wanted, budget in _requests(random.Random(f"requests/{seed}"), count):
        begin = time.perf_counter()
        try:
            plans = plan(wanted, budget, geometry)
        except VisualBudgetExceeded:
            plans = []
            refused += 1
        seconds.append(time.perf_counter() - begin)
        over += _is_over(wanted, plans, budget)
        moved += any(_moves(one, geometry) for one in plans)
    return Found(count, over, moved, refused, tuple(seconds))


def _is_over(wanted: list[Wanted], plans: list[ImagePlan], budget: ServerBudget) -> bool:
    spent = sum(one.times * planned.most for one, planned in zip(wanted, plans, strict=False))
    return bool(budget.max_visual_tokens) and spent > budget.max_visual_tokens


def _moves(one: ImagePlan, geometry: Geometry) -> bool:
    """Whether the processor would give the planned size another one."""
    again = geometry.plan(one.planned.width, one.planned.height)
    return (again.width, again.height) != (one.planned.width, one.planned.height)


def _requests(rng: random.Random, count: int) -> Iterator[tuple[list[Wanted], ServerBudget]]:
    for _ in range(count):
        wanted = [Wanted(_look(rng), rng.choice((1, 1, 1, 2, 3))) for _ in range(rng.randint(1, 12))]
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
