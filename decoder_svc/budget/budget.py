"""What the images of a request may cost: every field decided, by the request or by the server's defaults.

A value, and what follows from it alone. The planner spends it; this module knows no image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fovea.contract.plan import ALL_ROWS, Reducer, RowSelection
from fovea.planning.detail import READABLE_TEXT_PX, Detail

DEFAULT_REDUCER = Reducer.SCOPE
"""Which rows are kept where neither the request nor a setting says it."""


class OnOverBudget(StrEnum):
    """What to do with images that cost more than `max_visual_tokens`."""

    FIT = "fit"
    REFUSE = "refuse"


class RepeatPolicy(StrEnum):
    """What to do with later copies of an image."""

    KEEP = "keep"
    REFERENCE = "reference"


class ReductionMode(StrEnum):
    """How far visual tokens are reduced."""

    OFF = "off"
    ECONOMY = "economy"
    STRONG = "strong"
    AUTO = "auto"

    def rows(self, reducer: Reducer) -> RowSelection:
        keep = {ReductionMode.ECONOMY: 0.75, ReductionMode.STRONG: 0.5}.get(self, 1.0)
        return RowSelection(keep, self is ReductionMode.AUTO, reducer)


@dataclass(frozen=True)
class Budget:
    """`rows` may name RESIZE, which only the planner knows. Zero is no bound.

    `pressed` is the detail to which the server's load lowers the images, None where it does not.
    """

    max_pixels: int
    max_visual_tokens: int = 0
    detail: Detail = Detail.HIGH
    min_detail: Detail = Detail.HIGH
    on_over_budget: OnOverBudget = OnOverBudget.FIT
    repeats: RepeatPolicy = RepeatPolicy.KEEP
    rows: RowSelection = ALL_ROWS
    flat_tolerance: int | None = None
    near_repeats: float = 1.0
    min_tokens: int = 0
    max_short_side: int = 0
    max_long_side: int = 0
    readable_text_px: float = READABLE_TEXT_PX
    pressed: Detail | None = None

    @property
    def thins(self) -> bool:
        """Whether images are looked at as frames of a video, of which only what is new is kept."""
        return self.near_repeats < 1

    @property
    def resizes(self) -> bool:
        """Whether rows are saved by making images smaller instead of dropping rows."""
        return self.rows.reducer is Reducer.RESIZE and not self.rows.all

    @property
    def sent(self) -> RowSelection:
        """Which of the encoded rows are asked for."""
        return ALL_ROWS if self.resizes or self.rows.all else self.rows

    @property
    def details(self) -> tuple[Detail, ...]:
        """Every level on the way down, the caller's own first; the least size of all of them counts."""
        found = [self.detail]
        while self.pressed is not None and found[-1].rank > self.pressed.rank:
            found.append(found[-1].below)
        return tuple(found)

    def lowered(self, steps: int) -> Budget:
        """With so many steps less detail, but never below `min_detail`."""
        rank = max(min(self.detail.rank, self.min_detail.rank), self.detail.rank - steps)
        detail = list(Detail)[rank]
        return self if detail is self.detail else replace(self, pressed=detail)
