"""Budget splits over random requests: never above the budget, only stable sizes, minimums respected."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fovea.contract.plan import RowSelection
from fovea.geometry import Geometry
from fovea.planning.detail import Detail, ImageTraits, sufficient
from fovea.planning.sizes import larger, smallest, stands
from fovea.planning.split import BudgetSplit, SizeDemand

PUBLISHED, STANDIN = Geometry(), Geometry(min_pixels=4096)
REQUESTS = 10_000


def size(draw: random.Random) -> tuple[int, int]:
    width, height = (int(2 ** draw.uniform(3, 13)) for _ in range(2))
    return (width, height) if max(width, height) <= 200 * min(width, height) else (width, width)


def need(draw: random.Random, geometry: Geometry) -> SizeDemand:
    kind = draw.choice(["TEXT", "PHOTO", "GRAPHIC", "UNSPECIFIED", "BLANK", "CHART", "TABLE", "DRAWING"])
    traits = ImageTraits(*size(draw), draw.choice([0, draw.uniform(4, 80)]), draw.uniform(0, 0.2), kind)
    pixels = draw.choice([geometry.max_pixels, 1_310_720, draw.randint(geometry.min_pixels, 1 << 22)])
    target = sufficient(traits, draw.choice(list(Detail)), 14, geometry)
    return SizeDemand(
        traits.size, min(pixels, target.max_pixels) if target else pixels, draw.choice([1, 1, 2])
    )


def requests(count: int, seed: int = 0) -> Iterator[tuple[BudgetSplit, list[SizeDemand], int]]:
    draw = random.Random(seed)
    for number in range(count):
        geometry = (PUBLISHED, STANDIN)[number % 2]
        demands = [need(draw, geometry) for _ in range(draw.randint(1, 8))]
        rows = draw.choice([RowSelection(), RowSelection(0.75), RowSelection(0.3), RowSelection(auto=True)])
        yield (
            BudgetSplit(geometry, rows, draw.choice([0, 0, 64, 200])),
            demands,
            int(2 ** draw.uniform(4, 14)),
        )


@pytest.mark.long
def test_ten_thousand_requests_keep_their_budgets() -> None:
    shrunk = 0
    for split, demands, tokens in requests(REQUESTS):
        limits = split.over(demands, tokens)
        if limits is None:
            continue
        got = [
            SizeDemand(demand.size, pixels, demand.times)
            for demand, pixels in zip(demands, limits, strict=True)
        ]
        assert split.cost(got) <= tokens
        assert all(pixels <= demand.max_pixels for demand, pixels in zip(demands, limits, strict=True))
        for demand, pixels in zip(demands, limits, strict=True):
            if pixels != demand.max_pixels:
                shrunk += 1
                planned, full = (split.geometry.plan(*demand.size, p) for p in (pixels, demand.max_pixels))
                assert stands(planned, split.geometry), (demand, pixels)
                assert planned.tokens >= min(split.min_tokens, full.tokens), (demand, pixels)
    assert shrunk > REQUESTS / 4


def test_fitting_budgets_change_nothing_and_impossible_budgets_give_none() -> None:
    demands = [SizeDemand((640, 480), 1_310_720), SizeDemand((1600, 1200), 1_310_720)]
    split = BudgetSplit(PUBLISHED, RowSelection())
    full = split.cost(demands)
    assert split.over(demands, full) == [1_310_720, 1_310_720]
    assert split.over(demands, 127) is None
    assert split.over(demands, 160) is not None
    assert BudgetSplit(PUBLISHED, RowSelection(), min_tokens=200).over(demands, 399) is None


def test_small_images_keep_what_they_need_and_large_ones_share_the_rest() -> None:
    demands = [
        SizeDemand((256, 256), 1_310_720),
        SizeDemand((4000, 3000), 1_310_720),
        SizeDemand((4000, 3000), 1_310_720),
    ]
    limits = BudgetSplit(PUBLISHED, RowSelection()).over(demands, 1000)
    assert limits is not None
    tokens = [
        PUBLISHED.plan(*demand.size, pixels).tokens for demand, pixels in zip(demands, limits, strict=True)
    ]
    assert tokens[0] == 64
    assert all(400 < count <= 500 for count in tokens[1:])


def test_the_next_larger_size_is_the_next_grid() -> None:
    """Compared with an exhaustive search over pixel counts."""
    geometry = Geometry(min_pixels=4096, max_pixels=300_000)
    for image in ((500, 333), (1200, 90), (47, 47)):
        pixels: int | None = geometry.min_pixels
        while pixels is not None and (following := larger(image, pixels, geometry)) is not None:
            here = geometry.plan(*image, pixels)
            # The two last pixels before it stand for what the rounding of the scale may lose.
            assert {geometry.plan(*image, p) for p in range(pixels, following - 2)} <= {here}
            assert geometry.plan(*image, following) != here or following == 300_000
            pixels = following


def test_the_smallest_size_is_stable_near_the_processors_minimum() -> None:
    assert not stands(PUBLISHED.plan(1600, 1200, 65_536), PUBLISHED)
    least = smallest((1600, 1200), 1, PUBLISHED)
    assert stands(PUBLISHED.plan(1600, 1200, least), PUBLISHED)
    assert PUBLISHED.plan(1600, 1200, least).tokens == 70
