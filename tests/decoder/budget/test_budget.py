"""A request's budget over the server's defaults: what is set counts, what is left open is the server's choice."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from decoder_svc.budget.budget import ServerBudget
from fovea.contract.budget import Detail, OnOverBudget, ReductionMode, RepeatPolicy, from_proto, to_proto
from fovea.contract.plan import Reducer, RowSelection
from fovea.decoder.v1 import decoder_pb2

PLAIN = ServerBudget(1_310_720, reduction=ReductionMode.OFF)
THRIFTY = replace(
    PLAIN,
    max_visual_tokens=900,
    detail=Detail.AUTO,
    reduction=None,
    keep=0.75,
    reducer=Reducer.DIVPRUNE,
    flat_tolerance=2,
    on_over_budget=OnOverBudget.REFUSE,
    repeat_policy=RepeatPolicy.REFERENCE,
    min_tokens=64,
)


def test_an_empty_budget_takes_the_server_defaults() -> None:
    assert from_proto(decoder_pb2.VisualBudget()).over(THRIFTY) == THRIFTY


def test_reduction_off_overrides_the_server_default() -> None:
    asked = decoder_pb2.VisualBudget()
    asked.reduction.mode = decoder_pb2.REDUCTION_MODE_OFF
    found = from_proto(asked).over(THRIFTY)
    assert (found.selection.all, found.flat_tolerance) == (True, None)
    asked.reduction.flat_tolerance = 0
    assert from_proto(asked).over(THRIFTY).flat_tolerance == 0


@pytest.mark.parametrize("one", [PLAIN, THRIFTY, replace(PLAIN, reduction=ReductionMode.AUTO)])
def test_alternatives_mean_the_same_on_any_server(one: ServerBudget) -> None:
    for name, other in one.alternatives():
        again = from_proto(to_proto(other)).over(PLAIN)
        assert (again.flat_tolerance, again.detail) == (other.flat_tolerance, other.detail), name
        assert again.selection.all == other.selection.all
        assert again.selection.all or again.selection == other.selection
        assert again.max_visual_tokens == other.max_visual_tokens


@pytest.mark.parametrize("kept", [1, 15, 16, 17, 900])
@pytest.mark.parametrize("keep", [1e-6, 0.3, 0.75, 1.0])
def test_affordable_needs_no_linear_search(keep: float, kept: int) -> None:
    """Also where no choice keeps so few: a search from the top would hold up everybody for seconds."""
    began = time.process_time()
    total = RowSelection(keep).affordable(kept)
    assert time.process_time() - began < 0.5
    assert RowSelection(keep).most(total) <= kept
    assert total >= kept
