"""`bench.cache` and `bench.overlap`: measures from times, and owed measures."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from bench import cache, overlap, services
from bench.cache import Visits
from bench.overlap import target
from bench.parts.timing import TimedAnswer
from fovea.cli.children import Children, Launch
from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Totals


def answer(ttft_ms: float, source: str, encode_ms: float = 0.0) -> TimedAnswer:
    image = ImageReceipt("sha256:", (1, 1), (1, 1), (1, 2, 2), 4, 1, 1, source=source)
    return TimedAnswer(ttft_ms, ttft_ms, Receipt((image,), Totals(), Stages(encode=encode_ms)))


def visits(prefix: Sequence[TimedAnswer]) -> Visits:
    cold = [answer(100.0, "encoded", 60.0) for _ in range(3)]
    return Visits(cold, [answer(20.0, "rows", 1.2) for _ in range(3)], list(prefix))


RESTARTS = [[11.0, 10.0, 9.0, 10.0], [11.0, 10.0, 10.0, 12.0]]


def test_a_hit_is_held_against_cold_and_a_restart_against_warm() -> None:
    taken = cache.measures(visits([answer(5.0, "prefix")] * 3), RESTARTS, seed=0)
    values = [taken[name].value for name in ("hit_encode_share", "prefix", "restart")]
    assert values == pytest.approx([0.02, 0.05, 1.1])
    assert all(taken[name].met for name in ("hit_encode_share", "prefix", "restart"))


def test_a_prefix_that_was_not_reused_is_owed_however_fast_it_was() -> None:
    taken = cache.measures(
        visits([answer(5.0, "prefix"), answer(5.0, "rows"), answer(5.0, "prefix")]), RESTARTS, 0
    )
    assert taken["prefix"].value is None
    assert taken["prefix"].target == cache.PREFIX_TARGET


def test_an_answer_from_another_source_is_not_measured() -> None:
    assert answer(1.0, "rows").came_from("rows").ttft_ms == 1.0
    with pytest.raises(RuntimeError, match="rows"):
        answer(1.0, "rows").came_from("encoded")


@pytest.mark.parametrize(
    ("encode", "prefill", "pipeline"),
    [
        (10.0, 10.0, 5 / 8),  # both busy all the time but for one stage at each end
        (30.0, 10.0, (40 + 90) / 160),
        (10.0, 30.0, (40 + 90) / 160),
        (10.0, 0.0, 1.0),  # nothing to overlap
    ],
)
def test_the_target_is_the_ratio_of_a_two_stage_pipeline(
    encode: float, prefill: float, pipeline: float
) -> None:
    assert target(encode, prefill) == pytest.approx(1.15 * pipeline)


def test_overlap_is_owed_if_both_services_share_a_core() -> None:
    times = {
        "ttft_overlapped_ms": [70.0, 70.0],
        "ttft_chained_ms": [100.0, 100.0],
        "encode_ms": [10.0, 10.0],
        "prefill_ms": [10.0, 10.0],
    }
    apart, together = (overlap.measures(times, cores, 0)["ttft"] for cores in (2, 1))
    assert (apart.value, apart.met) == (pytest.approx(0.7), True)
    assert (together.value, together.target) == (None, apart.target)


def test_a_service_has_the_core_that_it_is_given_and_the_bench_keeps_its_own() -> None:
    own = os.sched_getaffinity(0)
    core = max(own)
    launch = Launch("socket", "bench.parts.raw_socket", "", ["1"])
    with Children(os.environ, lambda name, line: None) as children:
        (child,) = services.start_pinned(children, [launch], [core])
        assert os.sched_getaffinity(child._process.pid) == {core}
        assert os.sched_getaffinity(0) == own
