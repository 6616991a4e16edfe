"""Plans each image of a request: its size, its row selection, and every step with its reason.

A pure function of image sizes, measures and budget. What depends on the pixels (uniform patches, redundant
rows) is known only after an encoder has read them; until then a plan gives bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.planned import PlannedImage
from fovea.contract.budget import Detail, OnOverBudget
from fovea.contract.errors import ContextTooLong, VisualBudgetExceeded
from fovea.contract.plan import ALL_ROWS, EncodePlan
from fovea.contract.receipt import Step
from fovea.geometry import Geometry
from fovea.planning.detail import ImageTraits, sufficient
from fovea.planning.sizes import Size, largest_for_all, smallest, stands
from fovea.planning.split import BudgetSplit, SizeDemand


def plan(images: Sequence[ImageTraits], budget: ServerBudget, geometry: Geometry) -> list[PlannedImage]:
    """Plan the images, in order.

    Raises VisualBudgetExceeded, and what `Geometry.plan` raises: SizeInvalid, AspectTooExtreme.
    """
    sizings = [_Sizing(traits, budget, geometry).sized() for traits in images]
    demands = [SizeDemand(sizing.traits.size, sizing.max_pixels, sizing.traits.times) for sizing in sizings]
    pixels = _within_budget(demands, budget, geometry)
    return [sizing.limited(limit).planned() for sizing, limit in zip(sizings, pixels, strict=True)]


def _within_budget(demands: Sequence[SizeDemand], budget: ServerBudget, geometry: Geometry) -> list[int]:
    limit, split = budget.max_visual_tokens, BudgetSplit(geometry, budget.sent, budget.min_tokens or 0)
    if not limit or not demands:
        return [demand.max_pixels for demand in demands]
    cost = split.cost(demands)
    given = (
        None if cost > limit and budget.on_over_budget is OnOverBudget.REFUSE else split.over(demands, limit)
    )
    if given is None:
        raise VisualBudgetExceeded(limit, cost, _fitting(demands, limit, geometry))
    return given if budget.near_repeats in (None, 1) else _alike(demands, given)


def _fitting(demands: Sequence[SizeDemand], limit: int, geometry: Geometry) -> int:
    """A max_pixels at which all images fit at sizes that the image processor does not resize; 0 if none."""
    sizes = [demand.size for demand in demands for _ in range(demand.times)]
    pixels = largest_for_all(sizes, limit, geometry) or 0
    fits = pixels and all(stands(geometry.plan(*size, pixels), geometry) for size in sizes)
    return pixels if fits else 0


def _alike(demands: Sequence[SizeDemand], given: Sequence[int]) -> list[int]:
    """Give images of equal size an equal limit: only rows of equal grids can be compared as near repeats."""
    least: dict[Size, int] = {}
    for demand, pixels in zip(demands, given, strict=True):
        least[demand.size] = min(pixels, least.get(demand.size, pixels))
    return [least[demand.size] for demand in demands]


class _Sizing:
    """Shrinks an image from the checkpoint's limit to its planned size, step by step."""

    def __init__(self, traits: ImageTraits, budget: ServerBudget, geometry: Geometry) -> None:
        self.traits, self.budget, self.geometry = traits, budget, geometry
        self.max_pixels = geometry.max_pixels
        self.plan = geometry.plan(*traits.size)
        self.steps: tuple[Step, ...] = ()
        self.degraded = False

    def sized(self) -> _Sizing:
        """Apply the bounds and the detail of this image, independent of the other images."""
        self._bound()
        self._detail(self.budget.details[0])
        for detail in self.budget.details[1:]:
            before = self.plan
            self._detail(detail, "pressure: ")
            self.degraded = self.degraded or self.plan != before
        if self.budget.resizes:
            self._resize()
        return self

    def limited(self, max_pixels: int) -> _Sizing:
        """Apply this image's share of the request's budget."""
        self._shrink(max_pixels, f"budget {self.budget.max_visual_tokens}")
        return self

    def planned(self) -> PlannedImage:
        budget, tokens = self.budget, self.plan.tokens
        return PlannedImage(
            self.traits,
            EncodePlan(self.max_pixels, budget.flat_tolerance, budget.sent),
            self.plan,
            tokens_full=self.geometry.plan(*self.traits.size).tokens,
            encoded=tokens,
            sent=budget.sent.most(tokens),
            sent_min=1 if budget.flat_tolerance is not None else budget.sent.count(self._fewest()),
            sizing=self.steps,
            degraded=self.degraded,
        )

    def _bound(self) -> None:
        """Apply the caller's bounds on pixels and sides; the tightest gives the reason."""
        budget = self.budget
        bounds: dict[str, tuple[int | None, int, int]] = {
            f"max_pixels {budget.max_pixels}": (budget.max_pixels, 0, 0)
        }
        if budget.max_short_side:
            bounds[f"max_short_side {budget.max_short_side}"] = (None, budget.max_short_side, 0)
        if budget.max_long_side:
            bounds[f"max_long_side {budget.max_long_side}"] = (None, 0, budget.max_long_side)
        width, height = self.traits.size
        limits = {why: self.geometry.limit(width, height, *bound) for why, bound in bounds.items()}
        why = min(limits, key=lambda reason: limits[reason])
        sides = self.budget.max_short_side or self.budget.max_long_side
        # For a long thin image, a side bound may be below the smallest size that the processor keeps.
        least = smallest(self.traits.size, 1, self.geometry) if sides else 0
        self._shrink(max(limits[why], least), why)

    def _detail(self, detail: Detail, cause: str = "") -> None:
        bound = sufficient(self.traits, detail, self.budget.readable_text_px, self.geometry)
        if bound is not None:
            self._shrink(bound.max_pixels, f"{cause}{bound.reason}")

    def _resize(self) -> None:
        """Shrink the image to as many tokens as a row reducer would keep."""
        rows = self.budget.selection
        if rows.auto:
            self._detail(Detail.AUTO)
            return
        size, whole = self.traits.size, BudgetSplit(self.geometry, ALL_ROWS)
        given = whole.over([SizeDemand(size, self.max_pixels)], rows.count(self.plan.tokens))
        pixels = given[0] if given else smallest(size, 1, self.geometry)
        self._shrink(pixels, f"resize {rows.keep:.0%}", "reduce")

    def _shrink(self, max_pixels: int, reason: str, name: str = "resize") -> None:
        if max_pixels >= self.max_pixels:
            return
        before, self.max_pixels = self.plan, max_pixels
        self.plan = self.geometry.plan(*self.traits.size, max_pixels)
        if self.plan.tokens != before.tokens:
            self.steps += (Step(name, before.tokens, self.plan.tokens, reason),)

    def _fewest(self) -> int:
        """Lower bound of the tokens: if the pixels are not measured yet, AUTO may pick the smallest size."""
        automatic = Detail.AUTO in self.budget.details or (self.budget.resizes and self.budget.selection.auto)
        if self.traits.measured or not automatic:
            return self.plan.tokens
        least = smallest(self.traits.size, 1, self.geometry)
        return min(self.plan.tokens, self.geometry.plan(*self.traits.size, least).tokens)


def check_fit(
    text_tokens: int,
    visual_tokens: int,
    sizes: Sequence[Size],
    max_new_tokens: int,
    max_context: int,
    geometry: Geometry,
) -> None:
    """Raises ContextTooLong unless text, images and the longest possible answer fit the context.

    The error names the largest max_pixels at which they would fit with all rows of every image, 0 if none
    does. It names no max_pixels if there is no image to shrink.
    """
    tokens = text_tokens + visual_tokens
    if tokens + max_new_tokens <= max_context:
        return
    if not sizes:
        raise ContextTooLong(max_context, tokens, max_new_tokens)
    left = max_context - max_new_tokens - text_tokens
    max_pixels = largest_for_all(sizes, left, geometry)
    raise ContextTooLong(max_context, tokens, max_new_tokens, max_pixels or 0)
