"""A tier that costs at least as much as it saves is refused at start."""

from __future__ import annotations

import pytest
import structlog

from decoder_svc.errors import TierBelowBreakEven
from decoder_svc.tiers.build import measure
from decoder_svc.tiers.router import Step
from tests.decoder.tiers.fakes import Free, Scripted


def steps(*tiers: Scripted, break_even: str = "refuse") -> list[Step]:
    return [Step(tier, "model", break_even=break_even) for tier in tiers]  # type: ignore[arg-type]


async def test_a_tier_that_saves_more_than_it_costs_is_kept_and_the_log_shows_the_arithmetic() -> None:
    chain = steps(Free("cache"), Scripted("small", seconds=0.2, kept=0.75), Scripted("large", seconds=1.0))
    with structlog.testing.capture_logs() as logs:
        await measure(chain)
    assert [step.seconds for step in chain] == [None, 0.2, 1.0]
    (line,) = logs
    assert (line["event"], line["seconds"], line["keeps"], line["after_s"], line["saves"]) == (
        "tier_pays",
        0.2,
        0.75,
        1.0,
        0.75,
    )


@pytest.mark.parametrize(("seconds", "kept"), [(0.75, 0.75), (2.0, 1.0), (0.2, 0.1)])
async def test_a_tier_below_its_break_even_is_refused(seconds: float, kept: float) -> None:
    chain = steps(Scripted("small", seconds=seconds, kept=kept), Scripted("large", seconds=1.0))
    with pytest.raises(TierBelowBreakEven, match="tier small takes") as refused:
        await measure(chain)
    assert f"keeps {kept:.0%}" in refused.value.message


async def test_a_tier_is_judged_against_all_tiers_after_it() -> None:
    """Behind it is a cheap tier that keeps nearly everything, so what it saves is cheap too."""
    middle = Scripted("middle", seconds=0.1, kept=0.9)
    chain = steps(Scripted("small", seconds=0.17, kept=0.8), middle, Scripted("large", seconds=1.0))
    with pytest.raises(TierBelowBreakEven) as refused:
        await measure(chain)
    assert refused.value.after_s == pytest.approx(0.1 + 0.1 * 1.0)


async def test_with_warn_the_tier_is_kept_and_logged() -> None:
    chain = steps(Scripted("small", seconds=2.0, kept=0.5), Scripted("large", seconds=1.0), break_even="warn")
    with structlog.testing.capture_logs() as logs:
        await measure(chain)
    assert [(line["event"], line["log_level"]) for line in logs] == [("tier_below_break_even", "warning")]


async def test_a_tier_without_a_calibration_is_not_judged_and_the_log_says_so() -> None:
    chain = steps(Scripted("small", seconds=2.0), Scripted("large", seconds=1.0))
    with structlog.testing.capture_logs() as logs:
        await measure(chain)
    assert [line["event"] for line in logs] == ["tier_not_judged"]


async def test_a_single_tier_is_not_timed() -> None:
    (only,) = chain = steps(Scripted("large", seconds=1.0))
    await measure(chain)
    assert only.seconds is None
