"""How one image is encoded and which rows of it are sent: what the decoder asks of an encoder, as values.

Decided by the planner, carried out by the encoder, part of every key under which rows are kept. This module
checks what a plan may be; it knows no pixels, no budget and no protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MAX_FLAT_TOLERANCE = 32
LEAST_ROWS = 16
"""No choice leaves an image fewer rows than these, unless it has fewer."""
_MILLION = 1_000_000


class Reducer(StrEnum):
    """Which rows are kept where not all are. RESIZE is the planner's: encoders drop nothing for it."""

    RESIZE = "resize"
    SCOPE = "scope"
    DIVPRUNE = "divprune"
    STRIDE = "stride"
    RANDOM = "random"


@dataclass(frozen=True)
class RowSelection:
    """The best rows by `reducer`: a share `keep` of them, or with `auto` as many as add something."""

    keep: float = 1.0
    auto: bool = False
    reducer: Reducer = Reducer.SCOPE

    @property
    def all(self) -> bool:
        return not self.auto and self.keep >= 1.0

    def count(self, total: int) -> int:
        """How many rows of `total` are kept: the share rounded up; with `auto`, the fewest that may be.

        In millionths, so that 0.3 is three of ten also where it came as a float32.
        """
        share = 0 if self.auto else -(-total * round(self.keep * _MILLION) // _MILLION)
        return max(share, min(total, LEAST_ROWS))

    def most(self, total: int) -> int:
        """The most rows of `total` that may be kept."""
        return total if self.auto else self.count(total)

    def affordable(self, kept: int) -> int:
        """The most rows of which at most `kept` are kept."""
        if self.auto or kept < LEAST_ROWS:
            return kept
        total = max(kept, kept * _MILLION // max(1, round(self.keep * _MILLION)))
        while self.most(total) > kept:
            total -= 1
        return total


ALL_ROWS = RowSelection()


@dataclass(frozen=True)
class EncodePlan:
    """`max_pixels` None leaves it to the encoder; `flat_tolerance` None drops no square of one colour."""

    max_pixels: int | None = None
    flat_tolerance: int | None = None
    rows: RowSelection = field(default=ALL_ROWS)

    @property
    def by_content(self) -> bool:
        """Whether the pixels decide how many rows there are, and not the size alone."""
        return self.flat_tolerance is not None or not self.rows.all
