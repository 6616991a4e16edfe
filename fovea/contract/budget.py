"""The budget of a request: what its images may cost, as callers write it and on the wire.

A field that is None is undecided: the server's default applies. After `over(defaults)`, None means no bound.
`decoder_svc.budget.planner` spends a budget; `fovea.planning` has the size arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

from fovea.contract.codec import EnumCodec
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

_CODECS: Mapping[str, EnumCodec[Any]] = {
    "detail": EnumCodec(decoder_pb2.Detail, Detail),
    "min_detail": EnumCodec(decoder_pb2.Detail, Detail),
    "on_over_budget": EnumCodec(decoder_pb2.OnOverBudget, OnOverBudget),
    "repeat_policy": EnumCodec(decoder_pb2.RepeatPolicy, RepeatPolicy),
    "reduction": EnumCodec(decoder_pb2.ReductionMode, ReductionMode),
    "reducer": EnumCodec(rows_pb2.Reducer, Reducer),
}
_OF_REDUCTION = {
    "keep": "keep",
    "reduction": "mode",
    "reducer": "reducer",
    "flat_tolerance": "flat_tolerance",
    "near_repeats": "near_repeats",
}
"""Fields of `Budget` that the message Reduction holds; VisualBudget holds the others under their names."""

B = TypeVar("B", bound="Budget")


@dataclass(frozen=True)
class Budget:
    """What the images of a request may cost. Enum values may be given as strings: `Budget(detail="auto")`.

    `max_visual_tokens` bounds the whole request. With `on_over_budget` FIT the images are shrunk until they
    fit, none below `min_tokens`. `detail` says how much of each image matters, `min_detail` how far it may
    drop when the server is near a limit. `repeat_policy` REFERENCE replaces a repeated image by a line of
    text. `reduction` or the share `keep` selects rows, ranked by `reducer`. `flat_tolerance` drops uniform
    patches whose colours differ by at most that much. `near_repeats` is the share of rows kept of
    consecutive images of the same size, such as video frames. `max_short_side` and `max_long_side` bound the
    sides in pixels.
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
        for name, codec in _CODECS.items():
            object.__setattr__(self, name, codec.coerce(getattr(self, name)))

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
    top: dict[str, Any] = {}
    reduction: dict[str, Any] = {}
    for field in fields(Budget):
        value, codec = getattr(budget, field.name), _CODECS.get(field.name)
        if value is not None:
            wire = codec.to_proto(value) if codec else value
            if field.name in _OF_REDUCTION:
                reduction[_OF_REDUCTION[field.name]] = wire
            else:
                top[field.name] = wire
    return decoder_pb2.VisualBudget(
        **top, reduction=decoder_pb2.Reduction(**reduction) if reduction else None
    )


def from_proto(message: decoder_pb2.VisualBudget) -> Budget:
    """The budget as sent. Unknown enum values are None; `check` refuses them."""
    values = {field.name: _sent(message, field.name) for field in fields(Budget)}
    return Budget(**values | {name: codec.from_proto(values[name]) for name, codec in _CODECS.items()})


def _sent(message: decoder_pb2.VisualBudget, name: str) -> Any:
    """The wire value of a field of `Budget`; None if it is unset, or zero without presence."""
    holder: Any = message.reduction if name in _OF_REDUCTION else message
    return {field.name: value for field, value in holder.ListFields()}.get(_OF_REDUCTION.get(name, name))


def check(message: decoder_pb2.VisualBudget) -> None:
    """Raises InvalidArgument for the first invalid field, with its path, limit and value."""
    reduction = message.reduction
    for name, codec in _CODECS.items():
        number = _sent(message, name)
        if number is not None and not codec.knows(number):
            path = f"reduction.{_OF_REDUCTION[name]}" if name in _OF_REDUCTION else name
            raise InvalidArgument.of_field(f"visual.{path}", f"{number} is not known to this version")
    if reduction.mode and reduction.HasField("keep"):
        raise InvalidArgument.of_field("visual.reduction.keep", "must not be set beside a mode")
    if reduction.flat_tolerance > MAX_FLAT_TOLERANCE:
        what = f"must be at most {MAX_FLAT_TOLERANCE}"
        raise InvalidArgument.of_field("visual.reduction.flat_tolerance", what)
    for name in ("keep", "near_repeats"):
        share = _sent(message, name)
        if share is not None and not 0 < share <= 1:  # also refuses NaN
            raise _out_of_range(f"visual.reduction.{name}", share)


def _out_of_range(path: str, share: float) -> InvalidArgument:
    limit, actual = "above 0 and at most 1", f"{share:.6g}"
    return InvalidArgument.of_field(
        path, f"must be {limit}, not {actual}", field=path, limit=limit, actual=actual
    )
