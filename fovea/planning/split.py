"""One budget of visual tokens over several images, by what each of them needs.

Small images get what they need; the large ones are shrunk to one level, and what rounding leaves over lets
them grow again, cell row by cell row. Never over the budget, never above what an image needs, never below the
size that its processor or the caller's least number of tokens asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fovea.contract.plan import RowSelection
from fovea.geometry import Geometry
from fovea.planning.sizes import Size, larger, smallest


@dataclass(frozen=True)
class SizeDemand:
    """An image that is worth `max_pixels`, and stands in the request so many `times`."""

    size: Size
    max_pixels: int
    times: int = 1


@dataclass(frozen=True)
class _Share:
    """What an image gets: its size and what it costs there."""

    max_pixels: int
    cost: int


@dataclass(frozen=True)
class BudgetSplit:
    """Splits by the rows that are sent: `rows` says how many of an image's tokens those are."""

    geometry: Geometry
    rows: RowSelection
    min_tokens: int = 0

    def cost(self, needs: Sequence[SizeDemand]) -> int:
        """Visual tokens, at most, if each image gets what it needs."""
        return sum(need.times * self._share(need, need.max_pixels).cost for need in needs)

    def over(self, needs: Sequence[SizeDemand], tokens: int) -> list[int] | None:
        """A max_pixels an image, in order; None where even the smallest sizes cost more than `tokens`."""
        full = [self._share(need, need.max_pixels) for need in needs]
        if _total(needs, full) <= tokens:
            return [share.max_pixels for share in full]
        least = [self._least(need, most) for need, most in zip(needs, full, strict=True)]
        if _total(needs, least) > tokens:
            return None
        level = _level(needs, full, least, tokens)
        shares = [
            self._at_level(need, most, fewest, level)
            for need, most, fewest in zip(needs, full, least, strict=True)
        ]
        return [share.max_pixels for share in self._grown(needs, full, shares, tokens)]

    def _share(self, need: SizeDemand, max_pixels: int) -> _Share:
        return _Share(max_pixels, self.rows.most(self.geometry.plan(*need.size, max_pixels).tokens))

    def _least(self, need: SizeDemand, full: _Share) -> _Share:
        pixels = min(need.max_pixels, smallest(need.size, max(1, self.min_tokens), self.geometry))
        found = self._share(need, pixels)
        return found if found.cost < full.cost else full

    def _at_level(self, need: SizeDemand, full: _Share, least: _Share, level: int) -> _Share:
        """Not above the level, unless its least is."""
        if full.cost <= level or full == least:
            return full
        if least.cost >= level:
            return least
        tokens = self.rows.affordable(level)
        found = self._share(need, tokens * self.geometry.cell**2)
        if found.cost > level:  # thinner than a cell: such images cost more than their pixels
            found = self._share(need, self.geometry.largest_fitting(*need.size, tokens) or least.max_pixels)
        return found if least.max_pixels <= found.max_pixels <= full.max_pixels else least

    def _grown(
        self, needs: Sequence[SizeDemand], full: Sequence[_Share], shares: list[_Share], tokens: int
    ) -> list[_Share]:
        """Let those that were shrunk have what is left, in turns."""
        left, grew = tokens - _total(needs, shares), True
        while grew and left:
            grew = False
            for at, need in enumerate(needs):
                more = self._larger(need, full[at], shares[at])
                price = need.times * (more.cost - shares[at].cost)
                if more != shares[at] and price <= left:
                    shares[at], left, grew = more, left - price, True
        return shares

    def _larger(self, need: SizeDemand, full: _Share, share: _Share) -> _Share:
        """The next grid, or the same share where there is none."""
        pixels = larger(need.size, share.max_pixels, self.geometry) if share.cost < full.cost else None
        if pixels is None:
            return share
        more = self._share(need, min(pixels, full.max_pixels))
        return more if more.max_pixels > share.max_pixels else replace(share)


def _total(needs: Sequence[SizeDemand], shares: Sequence[_Share]) -> int:
    return sum(need.times * share.cost for need, share in zip(needs, shares, strict=True))


def _level(needs: Sequence[SizeDemand], full: Sequence[_Share], least: Sequence[_Share], tokens: int) -> int:
    """The highest level to which all may be filled, each between its least and its full cost."""

    def filled(level: int) -> int:
        bounded = (max(low.cost, min(level, top.cost)) for low, top in zip(least, full, strict=True))
        return sum(need.times * cost for need, cost in zip(needs, bounded, strict=True))

    fits, exceeds = 0, max(share.cost for share in full)
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        fits, exceeds = (middle, exceeds) if filled(middle) <= tokens else (fits, middle)
    return fits
