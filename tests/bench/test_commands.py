"""Each bench runs as a command, prints a JSON line on stdout, and takes the promised measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.test_result import LINE, MEASURE

ROOT = Path(__file__).parents[2]
SPINE = {
    "encode_ms", "hit_ms", "store_get_vs_memcpy", "wire_vs_socket", "ttft_cold_ms", "ttft_warm_ms",
    "tokens_per_s",
}  # fmt: skip

ENGINE = ("engine", {"mismatches", "vs_generate"}, {"vs_vllm", "ttft_vs_vllm"})
SERVING = ("serving", set[str](), {"tokens_vs_vllm", "ttft_p50_vs_vllm", "ttft_p99_vs_vllm"})


PROMISED = {
    "handoff": {"bf16", "fp8", "same_host"},
    "cache": {"hit_encode_share", "prefix", "restart"},
    "reuse": {"ttft_mean", "ttft_p90", "ttft_p99", "tokens_per_s"},
    "overlap": {"ttft"},
    "ledger": {
        "missing", "double", "cpu_share", "requests_over", "quota_used", "still_reserved", "reserved_after_kill",
        "anomalies_found", "false_alarms",
    },
    "simulate": {
        "error_2_encoders", "error_3_encoders", "error_2_decoders",
        *(f"error_{encoders}x{decoders}" for encoders in (1, 2, 3) for decoders in (1, 2)),
    },
    "scale": {"hit_rate_loss", "encode_slope", "step_slope"},
    "economy": {
        "auto_saved", "auto_loss", "flat_saved", "flat_loss", "economy_loss", "strong_loss", "vs_random",
        "vs_stride", "vs_resize", "fp8_loss", "over_budget", "rescue_tokens", "rescue_memory", "rescue_ttft",
        "rescue_latency", "rescue_loss",
    },
    "cascade": {
        "requests_vs_large", "loss", "ceiling", "calibration_error", "ocr_saved", "ocr_loss", "gate_ms",
        "gate_accuracy",
    },
    "gateway": {
        "ttft_vs_client", "ttft_vs_client_at_8", "tokens_vs_client", "tokens_vs_client_at_8", "cancel_ms", "grid_ms",
    },
    "affinity": {"prefix_loss", "ttft_vs_round_robin", "shared_encodes", "shared_hit_vs_lmdb"},
    "gpu": {
        "encode_768", "encode_1024", "prefill_share", "decode_floor_1", "decode_floor_64", "vs_generate",
        "ttft_cold_ms", "ttft_rows_ms", "ttft_prefix_ms", "mismatches",
    },
}  # fmt: skip


def run(*arguments: str) -> tuple[dict[str, Any], int]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=os.environ.copy()
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stderr[-2000:]
    return json.loads(lines[0]), done.returncode


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_spine_measures_all_it_promises() -> None:
    line, status = run("bench/spine.py", "--quick", "--check")
    assert set(line) == LINE
    assert set(line["measures"]) >= SPINE
    assert line["owed"] == []
    for measure in line["measures"].values():
        assert set(measure) == MEASURE
        assert 0 < measure["lower"] <= measure["value"] <= measure["upper"]
    assert status == (0 if line["ok"] else 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bench", [ENGINE, SERVING], ids=["engine", "serving"])
def test_a_bench_against_vllm_measures_or_owes(bench: tuple[str, set[str], set[str]]) -> None:
    name, always, with_vllm = bench
    line, status = run(f"bench/{name}.py", "--quick", "--check")
    assert set(line) == LINE
    assert set(line["measures"]) == always | with_vllm
    assert set(line["owed"]) in (set(), with_vllm)
    assert status == (0 if line["ok"] else 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bench", PROMISED)
def test_a_bench_measures_all_it_promises_or_owes_it(bench: str) -> None:
    line, status = run("-m", f"bench.{bench}", "--quick", "--check")
    assert set(line) == LINE
    assert set(line["measures"]) >= PROMISED[bench]
    for name, measure in line["measures"].items():
        assert set(measure) == MEASURE
        assert (measure["value"] is None) == (name in line["owed"])
        if measure["value"] is not None:
            assert measure["lower"] <= measure["value"] <= measure["upper"]
    assert status == (0 if line["ok"] else 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eval_asks_through_the_services_and_writes_its_page(tmp_path: Path) -> None:
    page = tmp_path / "eval.md"
    line, status = run("-m", "bench.eval", "--per-kind", "2", "--seed", "1", "--out", str(page))
    assert status == 0
    assert set(line) == LINE
    assert line["config"]["asks"] == 2 * 28 * 3
    assert line["config"]["encodes"] <= line["config"]["images"]
    assert page.exists()
    assert (tmp_path / "img" / "eval.png").exists()


@pytest.mark.long
def test_a_wrong_flag_is_refused_before_anything_starts() -> None:
    done = subprocess.run(
        [sys.executable, "bench/eval.py", "--per-kind", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "at least 2" in done.stderr
