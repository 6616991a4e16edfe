"""Log-log slopes, and the bytes of a decode step."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import scale
from bench.parts.steps import Grid, Point, decode_steps, measure_grid, random_prompts
from bench.scale import log_log_slope
from decoder_svc.engine.protocol import EngineLimits
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.rows import RowDtype
from tests import tiny

SIZES = [2.0**n for n in range(10)]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_power_law_has_its_power_as_slope(power: float) -> None:
    bounded = log_log_slope([(size, 3.0 * size**power) for size in SIZES])
    assert (bounded.value, bounded.lower, bounded.upper) == pytest.approx((power, power, power), abs=1e-9)


def test_points_that_fit_no_line_widen_the_bounds() -> None:
    straight = log_log_slope([(size, size) for size in SIZES])
    bent = log_log_slope([(size, size if size < 100 else 20 * size) for size in SIZES])
    assert straight.upper - straight.lower < 0.01 < bent.upper - bent.lower
    with pytest.raises(ValueError, match="a single number of bytes"):
        log_log_slope([(1.0, 2.0), (1.0, 3.0)])


def test_a_fleet_that_loses_hits_loses_points() -> None:
    alone, three = [True] * 90 + [False] * 10, [True] * 85 + [False] * 15
    points = [Point(8, 1, size, size) for size in SIZES]
    pairs = [(size, size) for size in SIZES]
    taken = scale.measures({1: alone, 3: three}, {1: [2.0, 2.0]}, pairs, points, 0)
    assert taken["hit_rate_loss"].value == pytest.approx(5.0)
    assert not taken["hit_rate_loss"].met
    assert taken["step_slope"].met
    assert scale.draw(scale.FULL, 1) == scale.draw(scale.FULL, 1) != scale.draw(scale.FULL, 2)


def test_longer_contexts_and_larger_batches_have_more_to_read(tmp_path: Path) -> None:
    grid = Grid(contexts=(8, 64), batches=(1, 3), most=100, samples=3)
    points = measure_grid(tiny.checkpoint(tmp_path, text_layers=2), grid, threads=1, seed=0)
    assert [(point.context, point.batch) for point in points] == [(8, 1), (8, 3), (64, 1)]
    assert points[0].bytes < min(points[1].bytes, points[2].bytes)
    assert all(point.seconds > 0 for point in points)


def test_steps_beyond_the_longest_answer_are_refused(tmp_path: Path) -> None:
    settings = NativeSettings(
        tiny.checkpoint(tmp_path, text_layers=2),
        dtype=RowDtype.FP32,
        devices=("cpu",),
        kv_tokens=512,
        limits=EngineLimits(max_context=128, max_new_tokens=4),
    )

    async def run() -> None:
        engine = NativeEngine(settings)
        await engine.start()
        try:
            await decode_steps(engine, random_prompts(300, 2, 8, 0), samples=20)
        finally:
            await engine.close()

    with pytest.raises(RuntimeError, match="of 20 steps"):
        asyncio.run(run())
