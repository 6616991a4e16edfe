"""Between VisualBudget and the decoder's Budget: what a caller leaves open is the server's choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from decoder_svc.budget.budget import Budget, OnOverBudget, ReductionMode, RepeatPolicy
from fovea.contract import wire
from fovea.contract.errors import InvalidArgument, Violation
from fovea.contract.plan import MAX_FLAT_TOLERANCE, Reducer, RowSelection
from fovea.decoder.v1 import decoder_pb2
from fovea.planning.detail import Detail
from fovea.vision.v1 import rows_pb2

T = TypeVar("T")

_DETAILS = {decoder_pb2.Detail.Value(f"DETAIL_{one.name}"): one for one in Detail}
_OVER = {decoder_pb2.OnOverBudget.Value(f"ON_OVER_BUDGET_{one.name}"): one for one in OnOverBudget}
_REPEATS = {decoder_pb2.RepeatPolicy.Value(f"REPEAT_POLICY_{one.name}"): one for one in RepeatPolicy}
_MODES = {decoder_pb2.ReductionMode.Value(f"REDUCTION_MODE_{one.name}"): one for one in ReductionMode}
_REDUCERS = {rows_pb2.Reducer.Value(f"REDUCER_{one.name}"): one for one in Reducer}


def budget(visual: decoder_pb2.VisualBudget, defaults: Budget) -> Budget:
    """Raises InvalidArgument with the path of the first field that is wrong."""
    reduction = visual.reduction
    return replace(
        defaults,
        max_pixels=visual.max_pixels if visual.HasField("max_pixels") else defaults.max_pixels,
        max_visual_tokens=visual.max_visual_tokens or defaults.max_visual_tokens,
        detail=_named(visual.detail, _DETAILS, "visual.detail", defaults.detail),
        min_detail=_named(visual.min_detail, _DETAILS, "visual.min_detail", defaults.min_detail),
        on_over_budget=_named(visual.on_over_budget, _OVER, "visual.on_over_budget", defaults.on_over_budget),
        repeats=_named(visual.repeat_policy, _REPEATS, "visual.repeat_policy", defaults.repeats),
        rows=_rows(reduction, defaults.rows),
        flat_tolerance=_tolerance(reduction, defaults.flat_tolerance),
        near_repeats=_share(reduction, "near_repeats", defaults.near_repeats),
        min_tokens=visual.min_tokens or defaults.min_tokens,
        max_short_side=visual.max_short_side or defaults.max_short_side,
        max_long_side=visual.max_long_side or defaults.max_long_side,
    )


def visual(budget: Budget) -> decoder_pb2.VisualBudget:
    """The whole budget, so that a server with other defaults does the same."""
    message = decoder_pb2.VisualBudget(
        max_pixels=budget.max_pixels,
        max_visual_tokens=budget.max_visual_tokens,
        detail=decoder_pb2.Detail.Value(f"DETAIL_{budget.detail.name}"),
        min_detail=decoder_pb2.Detail.Value(f"DETAIL_{budget.min_detail.name}"),
        on_over_budget=decoder_pb2.OnOverBudget.Value(f"ON_OVER_BUDGET_{budget.on_over_budget.name}"),
        repeat_policy=decoder_pb2.RepeatPolicy.Value(f"REPEAT_POLICY_{budget.repeats.name}"),
        min_tokens=budget.min_tokens,
        max_short_side=budget.max_short_side,
        max_long_side=budget.max_long_side,
    )
    reduction = message.reduction
    reduction.reducer = wire.reducer_to_proto(budget.rows.reducer)
    if budget.rows.auto:
        reduction.mode = decoder_pb2.REDUCTION_MODE_AUTO
    elif budget.rows.all:
        reduction.mode = decoder_pb2.REDUCTION_MODE_OFF
    else:
        reduction.keep = budget.rows.keep
    if budget.flat_tolerance is not None:
        reduction.flat_tolerance = budget.flat_tolerance
    if budget.near_repeats < 1:
        reduction.near_repeats = budget.near_repeats
    return message


def _rows(message: decoder_pb2.Reduction, default: RowSelection) -> RowSelection:
    if message.mode and message.HasField("keep"):
        raise _invalid("visual.reduction.keep", "not beside a mode")
    reducer = _named(message.reducer, _REDUCERS, "visual.reduction.reducer", default.reducer)
    if message.mode:
        return _named(message.mode, _MODES, "visual.reduction.mode", ReductionMode.OFF).rows(reducer)
    keep = _share(message, "keep", default.keep)
    return RowSelection(keep, default.auto and not message.HasField("keep"), reducer)


def _tolerance(message: decoder_pb2.Reduction, default: int | None) -> int | None:
    if not message.HasField("flat_tolerance"):
        return None if message.mode == decoder_pb2.REDUCTION_MODE_OFF else default
    if message.flat_tolerance > MAX_FLAT_TOLERANCE:
        raise _invalid("visual.reduction.flat_tolerance", f"must be at most {MAX_FLAT_TOLERANCE}")
    return message.flat_tolerance


def _share(message: decoder_pb2.Reduction, name: Any, default: float) -> float:
    if not message.HasField(name):
        return default
    share = float(getattr(message, name))
    if not 0 < share <= 1:  # NaN is not, either
        field, limit = f"visual.reduction.{name}", "above 0 and at most 1"
        what = f"must be {limit}, not {share:.6g}"
        raise InvalidArgument(
            f"{field} {what}",
            violations=[Violation(field, what)],
            field=field,
            limit=limit,
            actual=f"{share:.6g}",
        )
    return share


def _named(number: int, known: Mapping[Any, T], path: str, default: T) -> T:
    """The value of an enum; the default where it is not set."""
    if not number:
        return default
    if number not in known:
        raise _invalid(path, f"{number} is not known to this version")
    return known[number]


def _invalid(field: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{field} {what}", violations=[Violation(field, what)])
