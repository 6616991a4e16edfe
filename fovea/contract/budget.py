"""The budget of a request: what its images may cost, as callers write it and on the wire.

None means undecided: the server's defaults apply. After `over(defaults)`, None means no bound.
`decoder_svc.budget.planner` spends a budget; `fovea.planning` has the size arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

from fovea.contract.enums import EnumCodec, coerce
from fovea.contract.errors import InvalidArgument
from fovea.contract.plan import MAX_FLAT_TOLERANCE, Reducer, RowSelection
from fovea.decoder.v1 import decoder_pb2
from fovea.vision.v1 import rows_pb2

DEFAULT_REDUCER = Reducer.SCOPE


class Detail(StrEnum):
    """How much detail of an image matters, in increasing order."""

    LOW = "low"
    AUTO = "auto"
    HIGH = "high"

    @property
    def rank(self) -> int:
        return list(Detail).index(self)

    @property
    def below(self) -> Detail:
        return list(Detail)[max(0, self.rank - 1)]


class OnOverBudget(StrEnum):
    """What to do with images that cost more than `max_visual_tokens`."""

    FIT = "fit"
    REFUSE = "refuse"


class RepeatPolicy(StrEnum):
    """What to do with repeats of an image."""

    KEEP = "keep"
    REFERENCE = "reference"


class ReductionMode(StrEnum):
    """How far visual tokens are reduced after the tower."""

    OFF = "off"
    ECONOMY = "economy"
    STRONG = "strong"
    AUTO = "auto"


KEPT_SHARE = {ReductionMode.ECONOMY: 0.75, ReductionMode.STRONG: 0.5}

_DETAIL = EnumCodec(decoder_pb2.Detail, Detail)
_ON_OVER_BUDGET = EnumCodec(decoder_pb2.OnOverBudget, OnOverBudget)
_REPEAT_POLICY = EnumCodec(decoder_pb2.RepeatPolicy, RepeatPolicy)
_REDUCTION = EnumCodec(decoder_pb2.ReductionMode, ReductionMode)
_REDUCER = EnumCodec(rows_pb2.Reducer, Reducer)
_ENUMS: dict[str, Any] = {
    "detail": Detail,
    "min_detail": Detail,
    "on_over_budget": OnOverBudget,
    "repeat_policy": RepeatPolicy,
    "reduction": ReductionMode,
    "reducer": Reducer,
}

B = TypeVar("B", bound="Budget")


@dataclass(frozen=True)
class Budget:
    """What the images of a request may cost. Enum values may be given as strings: `Budget(detail="auto")`.

    `max_visual_tokens` bounds the whole request. With `on_over_budget` FIT the images are shrunk until they
    fit, none below `min_tokens`. `detail` says how much of each image matters, `min_detail` how far it may
    drop when the server is near a limit. `repeat_policy` REFERENCE replaces a repeated image by a line of
    text. `reduction` or the share `keep` selects rows, ranked by `reducer`. `flat_tolerance` drops uniform
    patches whose colours differ by at most that much. `near_repeats` is the share of rows to keep of
    consecutive similar images, such as video frames. `max_short_side` and `max_long_side` bound the sides in
    pixels.
    """

    max_pixels: int | None = None
    max_visual_tokens: int | None = None
    detail: Detail | None = None
    min_detail: Detail | None = None
    on_over_budget: OnOverBudget | None = None
    repeat_policy: RepeatPolicy | None = None
    keep: float | None = None
    reduction: ReductionMode | None = None
    reducer: Reducer | None = None
    flat_tolerance: int | None = None
    near_repeats: float | None = None
    min_tokens: int | None = None
    max_short_side: int | None = None
    max_long_side: int | None = None

    def __post_init__(self) -> None:
        for name, members in _ENUMS.items():
            object.__setattr__(self, name, coerce(members, getattr(self, name)))

    @property
    def selection(self) -> RowSelection:
        """The row selection of `reduction`, `keep` and `reducer`."""
        keep = KEPT_SHARE.get(self.reduction, 1.0) if self.reduction else (self.keep or 1.0)
        return RowSelection(keep, self.reduction is ReductionMode.AUTO, self.reducer or DEFAULT_REDUCER)

    def over(self, defaults: B) -> B:
        """This budget, with `defaults` for undecided fields.

        A reduction here replaces the default reduction as a whole. OFF also keeps uniform patches, unless
        `flat_tolerance` is set.
        """
        decided = {
            field.name: value for field in fields(Budget) if (value := getattr(self, field.name)) is not None
        }
        if self.reduction or self.keep is not None:
            decided |= {"reduction": None, "keep": None} | self._share()
        if self.reduction is ReductionMode.OFF:
            decided = {"flat_tolerance": None} | decided
        return replace(defaults, **decided)

    def _share(self) -> dict[str, object]:
        """The reduction as a share of rows; OFF keeps all, AUTO has no share."""
        if self.reduction is ReductionMode.AUTO:
            return {"reduction": ReductionMode.AUTO}
        return {"reduction": ReductionMode.OFF} if self.selection.all else {"keep": self.selection.keep}

    def with_pixels(self, max_pixels: int | None) -> Budget:
        """This budget with the shorthand `max_pixels`. Raises ValueError if both are set."""
        if max_pixels is None:
            return self
        if self.max_pixels is not None:
            raise ValueError("max_pixels stands in the budget already")
        return replace(self, max_pixels=max_pixels)


UNDECIDED = Budget()


def to_proto(budget: Budget) -> decoder_pb2.VisualBudget:
    message = decoder_pb2.VisualBudget(
        max_pixels=budget.max_pixels,
        max_visual_tokens=budget.max_visual_tokens or 0,
        detail=_DETAIL.to_proto(budget.detail),
        min_detail=_DETAIL.to_proto(budget.min_detail),
        on_over_budget=_ON_OVER_BUDGET.to_proto(budget.on_over_budget),
        repeat_policy=_REPEAT_POLICY.to_proto(budget.repeat_policy),
        min_tokens=budget.min_tokens or 0,
        max_short_side=budget.max_short_side or 0,
        max_long_side=budget.max_long_side or 0,
    )
    reduction = decoder_pb2.Reduction(
        keep=budget.keep,
        mode=_REDUCTION.to_proto(budget.reduction),
        reducer=_REDUCER.to_proto(budget.reducer),
        flat_tolerance=budget.flat_tolerance,
        near_repeats=budget.near_repeats,
    )
    if reduction.ByteSize():
        message.reduction.CopyFrom(reduction)
    return message


def from_proto(message: decoder_pb2.VisualBudget) -> Budget:
    """The budget as sent. Unknown enum values are None; `check` refuses them."""
    reduction = message.reduction
    return Budget(
        max_pixels=_optional(message, "max_pixels"),
        max_visual_tokens=message.max_visual_tokens or None,
        detail=_DETAIL.from_proto(message.detail),
        min_detail=_DETAIL.from_proto(message.min_detail),
        on_over_budget=_ON_OVER_BUDGET.from_proto(message.on_over_budget),
        repeat_policy=_REPEAT_POLICY.from_proto(message.repeat_policy),
        keep=_optional(reduction, "keep"),
        reduction=_REDUCTION.from_proto(reduction.mode),
        reducer=_REDUCER.from_proto(reduction.reducer),
        flat_tolerance=_optional(reduction, "flat_tolerance"),
        near_repeats=_optional(reduction, "near_repeats"),
        min_tokens=message.min_tokens or None,
        max_short_side=message.max_short_side or None,
        max_long_side=message.max_long_side or None,
    )


def check(message: decoder_pb2.VisualBudget) -> None:
    """Raises InvalidArgument for the first invalid field, with its path, limit and value."""
    reduction = message.reduction
    for path, number, codec in (
        ("visual.detail", message.detail, _DETAIL),
        ("visual.min_detail", message.min_detail, _DETAIL),
        ("visual.on_over_budget", message.on_over_budget, _ON_OVER_BUDGET),
        ("visual.repeat_policy", message.repeat_policy, _REPEAT_POLICY),
        ("visual.reduction.mode", reduction.mode, _REDUCTION),
        ("visual.reduction.reducer", reduction.reducer, _REDUCER),
    ):
        if not codec.knows(number):
            raise InvalidArgument.of_field(path, f"{number} is not known to this version")
    if reduction.mode and reduction.HasField("keep"):
        raise InvalidArgument.of_field("visual.reduction.keep", "must not be set beside a mode")
    if reduction.flat_tolerance > MAX_FLAT_TOLERANCE:
        what = f"must be at most {MAX_FLAT_TOLERANCE}"
        raise InvalidArgument.of_field("visual.reduction.flat_tolerance", what)
    for name in ("keep", "near_repeats"):
        share = _optional(reduction, name)
        if share is not None and not 0 < share <= 1:  # also refuses NaN
            raise _out_of_range(f"visual.reduction.{name}", share)


def _out_of_range(path: str, share: float) -> InvalidArgument:
    limit, actual = "above 0 and at most 1", f"{share:.6g}"
    return InvalidArgument.of_field(
        path, f"must be {limit}, not {actual}", field=path, limit=limit, actual=actual
    )


def _optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None
