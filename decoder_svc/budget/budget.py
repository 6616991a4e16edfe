"""The budget as the planner spends it: every field decided by the request or by the server's defaults.

Independent of images; the planner applies it to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fovea.contract.budget import KEPT_SHARE, Budget, Detail, ReductionMode
from fovea.contract.plan import ALL_ROWS, Reducer, RowSelection
from fovea.planning.detail import READABLE_TEXT_PX


@dataclass(frozen=True)
class ServerBudget(Budget):
    """A budget over the server's defaults. Here None means no bound.

    `pressed` is the detail to which the server's load lowers the images; None if it does not.
    """

    readable_text_px: float = READABLE_TEXT_PX
    pressed: Detail | None = None

    @property
    def thins(self) -> bool:
        """Whether images are treated as video frames, of which only new rows are kept."""
        return self.near_repeats is not None and self.near_repeats < 1

    @property
    def resizes(self) -> bool:
        """Whether tokens are saved by making images smaller instead of dropping rows."""
        return self.selection.reducer is Reducer.RESIZE and not self.selection.all

    @property
    def sent(self) -> RowSelection:
        """Which of the encoded rows are requested from the encoder."""
        return ALL_ROWS if self.resizes or self.selection.all else self.selection

    @property
    def details(self) -> tuple[Detail, ...]:
        """Detail levels from the caller's own down to `pressed`; the smallest resulting size counts."""
        levels = [self.detail or Detail.HIGH]
        while self.pressed is not None and levels[-1].rank > self.pressed.rank:
            levels.append(levels[-1].below)
        return tuple(levels)

    def alternatives(self) -> Iterator[tuple[str, ServerBudget]]:
        """Other budgets by name, so that a caller can compare what each would cost.

        This budget may be among them. All treat repeats and near repeats alike, because the prompt of a
        request is rendered only once.
        """
        whole = replace(self, reduction=ReductionMode.OFF, keep=None, flat_tolerance=None)
        for detail in reversed(Detail):
            yield f"detail {detail.value}", replace(whole, detail=detail)
        for mode in (ReductionMode.ECONOMY, ReductionMode.STRONG):
            yield mode.value, replace(self, reduction=None, keep=KEPT_SHARE[mode])
        yield "flat", replace(self, flat_tolerance=0)

    def lowered(self, steps: int) -> ServerBudget:
        """The budget with detail lowered by `steps`, but never below `min_detail`."""
        own, least = (self.detail or Detail.HIGH).rank, (self.min_detail or Detail.HIGH).rank
        rank = max(min(own, least), own - steps)
        return self if rank == own else replace(self, pressed=list(Detail)[rank])
