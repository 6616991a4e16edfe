"""Splits a budget of visual tokens over several images by demand.

Small images get their full demand. Large images are shrunk to a common level; tokens left by rounding then
let them grow again, cell row by cell row. The split never exceeds the budget or an image's demand, and never
goes below the processor's minimum size or the caller's minimum tokens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fovea.contract.plan import RowSelection
from fovea.geometry import Geometry
from fovea.planning.sizes import Size, larger, smallest


@dataclass(frozen=True)
class SizeDemand:
    """An image that should get `max_pixels` and appears `times` times in the request."""

    size: Size
    max_pixels: int
    times: int = 1


@dataclass(frozen=True)
class _Share:
    """The size that an image gets, and its cost."""

    max_pixels: int
    cost: int


@dataclass(frozen=True)
class BudgetSplit:
    """Costs are in sent rows: `rows` maps the tokens of an image to its sent rows."""

    geometry: Geometry
    rows: RowSelection
    min_tokens: int = 0

    def cost(self, demands: Sequence[SizeDemand]) -> int:
        """The most visual tokens that the images cost if every demand is met in full."""
        return sum(demand.times * self._share(demand, demand.max_pixels).cost for demand in demands)

    def over(self, demands: Sequence[SizeDemand], tokens: int) -> list[int] | None:
        """A max_pixels per image, in order; None if even the smallest sizes cost more than `tokens`."""
        full = [self._share(demand, demand.max_pixels) for demand in demands]
        if _total(demands, full) <= tokens:
            return [share.max_pixels for share in full]
        least = [self._least(demand, most) for demand, most in zip(demands, full, strict=True)]
        if _total(demands, least) > tokens:
            return None
        level = _level(demands, full, least, tokens)
        shares = [
            self._at_level(demand, most, fewest, level)
            for demand, most, fewest in zip(demands, full, least, strict=True)
        ]
        return [share.max_pixels for share in self._grown(demands, full, shares, tokens)]

    def _share(self, demand: SizeDemand, max_pixels: int) -> _Share:
        return _Share(max_pixels, self.rows.most(self.geometry.plan(*demand.size, max_pixels).tokens))

    def _least(self, demand: SizeDemand, full: _Share) -> _Share:
        pixels = min(demand.max_pixels, smallest(demand.size, max(1, self.min_tokens), self.geometry))
        share = self._share(demand, pixels)
        return share if share.cost < full.cost else full

    def _at_level(self, demand: SizeDemand, full: _Share, least: _Share, level: int) -> _Share:
        """At most the level, unless the image's minimum exceeds it."""
        if full.cost <= level or full == least:
            return full
        if least.cost >= level:
            return least
        tokens = self.rows.affordable(level)
        share = self._share(demand, tokens * self.geometry.cell**2)
        if share.cost > level:  # an image thinner than a cell costs more than its pixels
            pixels = self.geometry.largest_fitting(*demand.size, tokens) or least.max_pixels
            share = self._share(demand, pixels)
        return share if least.max_pixels <= share.max_pixels <= full.max_pixels else least

    def _grown(
        self, demands: Sequence[SizeDemand], full: Sequence[_Share], shares: list[_Share], tokens: int
    ) -> list[_Share]:
        """Distribute the remaining tokens over the shrunk images, round-robin."""
        left, grew = tokens - _total(demands, shares), True
        while grew and left:
            grew = False
            for at, demand in enumerate(demands):
                more = self._larger(demand, full[at], shares[at])
                price = demand.times * (more.cost - shares[at].cost)
                if more != shares[at] and price <= left:
                    shares[at], left, grew = more, left - price, True
        return shares

    def _larger(self, demand: SizeDemand, full: _Share, share: _Share) -> _Share:
        """The next larger grid, or the same share if there is none."""
        pixels = larger(demand.size, share.max_pixels, self.geometry) if share.cost < full.cost else None
        if pixels is None:
            return share
        grown = self._share(demand, min(pixels, full.max_pixels))
        return grown if grown.max_pixels > share.max_pixels else share


def _total(demands: Sequence[SizeDemand], shares: Sequence[_Share]) -> int:
    return sum(demand.times * share.cost for demand, share in zip(demands, shares, strict=True))


def _level(
    demands: Sequence[SizeDemand], full: Sequence[_Share], least: Sequence[_Share], tokens: int
) -> int:
    """The highest common level that fits the budget; each image stays between its minimum and full cost."""

    def filled(level: int) -> int:
        bounded = (max(low.cost, min(level, top.cost)) for low, top in zip(least, full, strict=True))
        return sum(demand.times * cost for demand, cost in zip(demands, bounded, strict=True))

    return bisect_right(range(1, max(share.cost for share in full)), tokens, key=filled)
