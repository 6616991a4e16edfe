"""An image of a request with its plan: the size and rows that were chosen, and every step with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.contract.plan import EncodePlan
from fovea.contract.receipt import Step
from fovea.contract.row_stream import GridIndices
from fovea.geometry import Planned
from fovea.planning.detail import ImageTraits


@dataclass(frozen=True, eq=False)
class PlannedImage:
    """An image at a place of the request: `digest` names the image, `path` the place.

    At most `encoded` rows are computed; between `sent_min` and `sent` of them are used, at the indices `kept`
    once these are known. A `referred` place holds a line of text instead. `tokens_full` is the cost at the
    checkpoint's limits; `sizing` lists the steps from there to the planned size. `thinned` is the step that
    dropped near repeats. `degraded` means that load lowered the detail.
    """

    traits: ImageTraits
    plan: EncodePlan
    planned: Planned
    tokens_full: int
    encoded: int
    sent: int
    sent_min: int
    sizing: tuple[Step, ...] = ()
    degraded: bool = False
    digest: str = ""
    path: str = ""
    repeat_of: int | None = None
    referred: bool = False
    kept: GridIndices | None = None
    thinned: Step | None = None

    @property
    def tokens(self) -> int:
        """Upper bound of the visual tokens at this place."""
        return 0 if self.referred else self.sent

    @property
    def tokens_min(self) -> int:
        return 0 if self.referred else self.sent_min

    @property
    def rows(self) -> int:
        """Rows that this place adds; a repeat adds none."""
        return self.sent if self.repeat_of is None else 0

    @property
    def patches(self) -> int:
        """Patches that the tower computes if the rows are not stored."""
        return self.encoded * self.planned.patches // self.planned.tokens

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step that changed the token count, in order."""
        full, plan, steps = self.planned.tokens, self.plan, list(self.sizing)
        if plan.flat_tolerance is not None:
            steps.append(Step("flat", full, self.encoded, f"tolerance {plan.flat_tolerance}"))
        if not plan.rows.all:
            share = "auto" if plan.rows.auto else f"{plan.rows.keep:.0%}"
            chosen = self.thinned.before if self.thinned else self.sent
            steps.append(Step("reduce", self.encoded, chosen, f"{plan.rows.reducer.value} {share}"))
        if self.thinned:
            steps.append(self.thinned)
        if self.referred:
            steps.append(Step("repeat", self.sent, 0, f"the same as image {(self.repeat_of or 0) + 1}"))
        return tuple(steps)
