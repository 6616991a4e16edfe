"""What each image of a request becomes: a size, a choice of rows, and every step on the way with its reason.

A pure function of sizes, measures and budget. What the pixels decide (flat squares, rows that add nothing) is
known only once an encoder has told it; until then a plan has bounds. Knows no bytes, no text and no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoder_svc.budget.budget import ServerBudget
from fovea.contract.budget import Detail, OnOverBudget
from fovea.contract.errors import ContextTooLong, VisualBudgetExceeded, about_image
from fovea.contract.plan import ALL_ROWS, EncodePlan
from fovea.contract.receipt import Step
from fovea.geometry import Geometry, Planned
from fovea.planning.detail import ImageTraits, sufficient
from fovea.planning.sizes import Size, largest_for_all, smallest, stands
from fovea.planning.split import BudgetSplit, SizeDemand


@dataclass(frozen=True)
class Wanted:
    """A different image of the request, in how many places its tokens stand, and its field for errors."""

    look: ImageTraits
    times: int = 1
    path: str = ""


@dataclass(frozen=True)
class ImagePlan:
    """An image with its size and rows. `most` and `least` bound its visual tokens; equal, they are exact."""

    rows: EncodePlan
    planned: Planned
    steps: tuple[Step, ...]
    most: int
    least: int
    degraded: bool = False


def plan(wanted: Sequence[Wanted], budget: ServerBudget, geometry: Geometry) -> list[ImagePlan]:
    """One plan an image, in order.

    Raises VisualBudgetExceeded, and what `Geometry.plan` raises: SizeInvalid, AspectTooExtreme.
    """
    sized = [_sized(image, budget, geometry) for image in wanted]
    needs = [
        SizeDemand(image.look.size, one.max_pixels, image.times)
        for image, one in zip(wanted, sized, strict=True)
    ]
    pixels = _within_budget(needs, budget, geometry)
    return [one.given(limit).planned() for one, limit in zip(sized, pixels, strict=True)]


def _sized(image: Wanted, budget: ServerBudget, geometry: Geometry) -> _Sizing:
    with about_image(image.path):
        return _Sizing(image.look, budget, geometry).sized()


def _within_budget(needs: Sequence[SizeDemand], budget: ServerBudget, geometry: Geometry) -> list[int]:
    limit, split = budget.max_visual_tokens, BudgetSplit(geometry, budget.sent, budget.min_tokens or 0)
    if not limit or not needs:
        return [need.max_pixels for need in needs]
    cost = split.cost(needs)
    given = (
        None if cost > limit and budget.on_over_budget is OnOverBudget.REFUSE else split.over(needs, limit)
    )
    if given is None:
        raise VisualBudgetExceeded(limit, cost, _fitting(needs, limit, geometry))
    return given if budget.near_repeats in (None, 1) else _alike(needs, given)


def _fitting(needs: Sequence[SizeDemand], limit: int, geometry: Geometry) -> int:
    """A max_pixels at which all images fit at sizes that their processor leaves as they are; 0 for none."""
    sizes = [need.size for need in needs for _ in range(need.times)]
    pixels = largest_for_all(sizes, limit, geometry) or 0
    fits = pixels and all(stands(geometry.plan(*size, pixels), geometry) for size in sizes)
    return pixels if fits else 0


def _alike(needs: Sequence[SizeDemand], given: Sequence[int]) -> list[int]:
    """Images of one size get one size: only those can be held against each other as repeats."""
    least: dict[Size, int] = {}
    for need, pixels in zip(needs, given, strict=True):
        least[need.size] = min(pixels, least.get(need.size, pixels))
    return [least[need.size] for need in needs]


class _Sizing:
    """The way of one image from the checkpoint's own limit down to its size, step by step."""

    def __init__(self, look: ImageTraits, budget: ServerBudget, geometry: Geometry) -> None:
        self.look, self.budget, self.geometry = look, budget, geometry
        self.max_pixels = geometry.max_pixels
        self.plan = geometry.plan(*look.size)
        self.steps: tuple[Step, ...] = ()
        self.degraded = False

    def sized(self) -> _Sizing:
        """As the image needs it, whatever the others do."""
        self._bound()
        self._detail(self.budget.details[0])
        for detail in self.budget.details[1:]:
            before = self.plan
            self._detail(detail, "pressure: ")
            self.degraded = self.degraded or self.plan != before
        if self.budget.resizes:
            self._resize()
        return self

    def given(self, max_pixels: int) -> _Sizing:
        """As much of the request's budget."""
        self._shrink(max_pixels, f"budget {self.budget.max_visual_tokens}")
        return self

    def planned(self) -> ImagePlan:
        budget = self.budget
        rows = EncodePlan(self.max_pixels, budget.flat_tolerance, budget.sent)
        least = 1 if budget.flat_tolerance is not None else budget.sent.count(self._fewest())
        return ImagePlan(
            rows, self.plan, self.steps, budget.sent.most(self.plan.tokens), least, self.degraded
        )

    def _bound(self) -> None:
        """The caller's bounds of pixels and sides; the tightest one is the reason."""
        budget = self.budget
        bounds: dict[str, tuple[int | None, int, int]] = {
            f"max_pixels {budget.max_pixels}": (budget.max_pixels, 0, 0)
        }
        if budget.max_short_side:
            bounds[f"max_short_side {budget.max_short_side}"] = (None, budget.max_short_side, 0)
        if budget.max_long_side:
            bounds[f"max_long_side {budget.max_long_side}"] = (None, 0, budget.max_long_side)
        width, height = self.look.size
        limits = {why: self.geometry.limit(width, height, *bound) for why, bound in bounds.items()}
        why = min(limits, key=lambda reason: limits[reason])
        sides = self.budget.max_short_side or self.budget.max_long_side
        # A side bound of a long thin image may ask for less than the processor leaves as it is.
        least = smallest(self.look.size, 1, self.geometry) if sides else 0
        self._shrink(max(limits[why], least), why)

    def _detail(self, detail: Detail, cause: str = "") -> None:
        found = sufficient(self.look, detail, self.budget.readable_text_px, self.geometry)
        if found is not None:
            self._shrink(found.max_pixels, f"{cause}{found.reason}")

    def _resize(self) -> None:
        """To the size of as many tokens as a reducer would keep."""
        rows = self.budget.selection
        if rows.auto:
            self._detail(Detail.AUTO)
            return
        size, whole = self.look.size, BudgetSplit(self.geometry, ALL_ROWS)
        given = whole.over([SizeDemand(size, self.max_pixels)], rows.count(self.plan.tokens))
        pixels = given[0] if given else smallest(size, 1, self.geometry)
        self._shrink(pixels, f"resize {rows.keep:.0%}", "reduce")

    def _shrink(self, max_pixels: int, reason: str, name: str = "resize") -> None:
        if max_pixels >= self.max_pixels:
            return
        before, self.max_pixels = self.plan, max_pixels
        self.plan = self.geometry.plan(*self.look.size, max_pixels)
        if self.plan.tokens != before.tokens:
            self.steps += (Step(name, before.tokens, self.plan.tokens, reason),)

    def _fewest(self) -> int:
        """Tokens, at least: AUTO may find in pixels that nobody looked at that the least size suffices."""
        automatic = Detail.AUTO in self.budget.details or (self.budget.resizes and self.budget.selection.auto)
        if self.look.measured or not automatic:
            return self.plan.tokens
        least = smallest(self.look.size, 1, self.geometry)
        return min(self.plan.tokens, self.geometry.plan(*self.look.size, least).tokens)


def check_fit(
    text_tokens: int,
    visual_tokens: int,
    sizes: Sequence[Size],
    max_new_tokens: int,
    max_context: int,
    geometry: Geometry,
) -> None:
    """Text, images and the longest possible answer fit the context, or ContextTooLong.

    The error names the largest max_pixels at which they would, with every row of every image, or 0 where
    none does; nothing where there is no image to shrink.
    """
    tokens = text_tokens + visual_tokens
    if tokens + max_new_tokens <= max_context:
        return
    if not sizes:
        raise ContextTooLong(max_context, tokens, max_new_tokens)
    left = max_context - max_new_tokens - text_tokens
    largest = largest_for_all(sizes, left, geometry)
    raise ContextTooLong(max_context, tokens, max_new_tokens, largest or 0)
