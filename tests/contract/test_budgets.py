"""Budgets through the public API: invalid fields are named, excess budgets report what fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from decoder_svc.budget.budget import ServerBudget
from fovea.contract.budget import Detail, OnOverBudget, ReductionMode, RepeatPolicy, from_proto, to_proto
from fovea.contract.plan import Reducer
from fovea.decoder.v1 import decoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, request
from tests.e2e.pictures import picture

DEFAULTS = ServerBudget(1_310_720, reduction=ReductionMode.OFF)
WRONG: dict[str, Callable[[decoder_pb2.VisualBudget], object]] = {
    "visual.detail": lambda visual: setattr(visual, "detail", 9),
    "visual.min_detail": lambda visual: setattr(visual, "min_detail", 9),
    "visual.on_over_budget": lambda visual: setattr(visual, "on_over_budget", 9),
    "visual.repeat_policy": lambda visual: setattr(visual, "repeat_policy", 9),
    "visual.reduction.mode": lambda visual: setattr(visual.reduction, "mode", 9),
    "visual.reduction.reducer": lambda visual: setattr(visual.reduction, "reducer", 9),
    "visual.reduction.flat_tolerance": lambda visual: setattr(visual.reduction, "flat_tolerance", 33),
    "visual.reduction.near_repeats": lambda visual: setattr(visual.reduction, "near_repeats", float("nan")),
    "visual.reduction.keep": lambda visual: setattr(visual.reduction, "keep", 0.0),
}


def both(visual: decoder_pb2.VisualBudget) -> None:
    visual.reduction.keep, visual.reduction.mode = 0.5, decoder_pb2.REDUCTION_MODE_STRONG


@pytest.mark.parametrize(
    ("path", "harm"), [*WRONG.items(), ("visual.reduction.keep", both)], ids=[*WRONG, "keep beside a mode"]
)
async def test_a_wrong_field_is_named(
    house: House, path: str, harm: Callable[[decoder_pb2.VisualBudget], object]
) -> None:
    message = request("?", max_new_tokens=1)
    harm(message.visual)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert (error.code, error.reason, set(error.violations)) == (
        "INVALID_ARGUMENT", "INVALID_ARGUMENT", {path},
    )  # fmt: skip


async def test_images_over_budget_are_fitted_or_refused(house: House) -> None:
    message = request("?", [picture(320, 256, seed=790)], max_new_tokens=1)  # 80 tokens
    message.visual.max_visual_tokens = 40
    answered = await house.ask(message)
    assert 32 <= answered.started.visual_tokens <= 40
    (step,) = answered.finished.receipt.images[0].steps
    assert (step.name, step.before, step.reason) == ("resize", 80, "budget 40")
    message.visual.on_over_budget = decoder_pb2.ON_OVER_BUDGET_REFUSE
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "VISUAL_BUDGET_EXCEEDED")
    assert (error.metadata["limit"], error.metadata["actual"]) == ("40", "80")
    message.visual.max_pixels = int(error.metadata["fits"])
    assert (await house.ask(message)).started.visual_tokens <= 40


async def test_a_size_is_counted_and_not_answered_about(house: House) -> None:
    message = request("?", max_new_tokens=1)
    part = message.messages[0].parts.add()
    part.image.size.width, part.image.size.height = 640, 480
    counted = await house.decoder.CountTokens(decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S)
    assert (counted.visual_tokens, counted.visual_tokens_min, counted.exact) == (300, 300, True)
    assert {other.name for other in counted.alternatives} >= {"detail low", "economy", "strong", "flat"}
    for other in counted.alternatives:
        message.visual.CopyFrom(other.visual)
        again = await house.decoder.CountTokens(
            decoder_pb2.CountTokensRequest(request=message), timeout=CALL_S
        )
        assert (again.visual_tokens, again.visual_tokens_min) == (
            other.visual_tokens,
            other.visual_tokens_min,
        )
        assert (again.kv_bytes, again.prefill_flops) == (other.kv_bytes, other.prefill_flops)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert error.reason == "INVALID_ARGUMENT"
    assert set(error.violations) == {"messages[0].parts[1].image"}


def test_unset_fields_take_server_defaults_and_a_budget_survives_the_wire() -> None:
    assert from_proto(decoder_pb2.VisualBudget()).over(DEFAULTS) == DEFAULTS
    full = ServerBudget(
        70_000, 900, Detail.AUTO, Detail.LOW, OnOverBudget.REFUSE, RepeatPolicy.REFERENCE,
        0.25, None, Reducer.DIVPRUNE, 3, 0.5, 20, 768, 1024,
    )  # fmt: skip
    automatic = replace(full, keep=None, reduction=ReductionMode.AUTO, reducer=Reducer.STRIDE)
    for budget in (full, automatic, DEFAULTS):
        assert from_proto(to_proto(budget)).over(DEFAULTS) == budget
