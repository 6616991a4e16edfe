"""`bench.gpu` on a CPU with a small config: every part runs, a wrong token is detected, measures are owed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import gpu
from bench.host import ROOT
from bench.parts import gpu_run
from bench.parts.gpu_run import GpuTimes, Setup
from bench.parts.in_process import PromptTokens, draw_picture, encode, load_tower
from bench.parts.random_checkpoint import RandomCheckpoint
from bench.parts.reference import Reference
from bench.parts.roofline import TextSize, expected_distinct
from bench.parts.steps import random_prompts
from decoder_svc.model.checkpoint import HEAD, TEXT
from decoder_svc.model.load import load_text
from fovea.contract.rows import RowDtype

CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> RandomCheckpoint:
    config = gpu.read_config("small", tmp_path_factory.mktemp("config"))
    return RandomCheckpoint(tmp_path_factory.mktemp("random"), config, CPU, torch.float32)


@pytest.fixture(scope="module")
def reference(checkpoint: RandomCheckpoint) -> Reference:
    return Reference(checkpoint)


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> GpuTimes:
    config = gpu.read_config("small", tmp_path_factory.mktemp("config"))
    setup = Setup(tmp_path_factory.mktemp("gpu"), config, CPU, seed=0)
    return asyncio.run(gpu_run.measure(setup, gpu.SMALL, lambda told: None))


def test_every_figure_is_taken_and_the_answer_is_that_of_the_reference(times: GpuTimes) -> None:
    taken = gpu.measures(times, seed=0)
    named = {"encode_64", "encode_96_share", "prefill_share", "decode_floor_1", "vs_generate", "ttft_cold_ms"}
    for name in named:
        value = taken[name].value
        assert value is not None
        assert value > 0, name
    assert (taken["mismatches"].value, taken["mismatches"].n) == (0, gpu.SMALL.answer)
    assert taken["prefill_share"].target == 0.35


def test_without_the_promised_gpu_all_figures_are_owed(times: GpuTimes) -> None:
    left = gpu.owed(gpu.measures(times, seed=0))
    assert set(left) >= set(gpu.PROMISED)
    assert [name for name, measure in left.items() if measure.value is not None] == ["mismatches"]


def test_a_step_of_a_single_sequence_touches_the_experts_of_a_token(
    times: GpuTimes, reference: Reference
) -> None:
    layers, each = 4, 2
    (alone, *_), many = ([p.token_ids for p in random_prompts(300, n, 12, 0)] for n in (1, 12))
    assert reference.touched([alone]) == [each] * layers
    assert all(each < touched <= 8 for touched in reference.touched(many))
    assert times.step_bytes[4] > times.step_bytes[1]


def test_a_token_that_the_reference_would_not_choose_is_seen(
    checkpoint: RandomCheckpoint, reference: Reference
) -> None:
    encoded = encode(load_tower(checkpoint), draw_picture(0, 64), RowDtype.FP32)
    tokens = PromptTokens.of(checkpoint)
    assert tokens.plain < min(tokens.image, tokens.start, tokens.end)
    prompt = tokens.prompt(encoded, tokens.random(5, 1), tokens.random(5, 2))
    first, second = reference.verdicts(prompt.token_ids, encoded.image, [7, 8])
    assert min(first.behind, second.behind) > gpu_run.TIES[torch.float32] * 100


@pytest.mark.long
def test_gpu_bench_imports_neither_services_nor_client_nor_store() -> None:
    listing = "import sys, bench.gpu; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"typer", "lmdb", "fovea.client", "bench.services"} & set(run.stdout.split())


def test_engine_and_reference_share_their_weights(checkpoint: RandomCheckpoint) -> None:
    weights = load_text(checkpoint, torch.float32, [CPU] * 4)
    name = "layers.0.mlp.experts.gate_up_proj"
    assert weights.text.get_parameter(name).data_ptr() == checkpoint.read(TEXT + name).data_ptr()
    assert weights.head.data_ptr() == checkpoint.read(HEAD).data_ptr()


def test_sizes_are_those_of_the_modules(checkpoint: RandomCheckpoint) -> None:
    size = TextSize.of(checkpoint.config)
    weights = sum(
        torch.Size(shape).numel()
        for name, shape in checkpoint.shapes.items()
        if name.startswith((TEXT, HEAD)) and "embed_tokens" not in name
    )
    assert size.step_bytes([size.experts] * size.layers, 0, itemsize=1) == weights
    assert (
        size.step_bytes([0] * size.layers, 10, 2) - size.step_bytes([0] * size.layers, 0, 2) == 20 * size.kv
    )


def test_the_work_of_the_published_model_matches_known_figures(tmp_path: Path) -> None:
    """6.6 GB a step at batch 1, 60 GB at 64, 96 KiB of KV a token; see docs/log.md for the floors."""
    config = RandomCheckpoint(tmp_path, gpu.read_config("30b", tmp_path), CPU, torch.bfloat16).config
    size = TextSize.of(config)
    distinct = expected_distinct(size.experts, size.each, 64)
    assert distinct == pytest.approx(126, abs=1)
    assert size.step_bytes([size.each] * 48, 0, 2) == pytest.approx(6.6e9, rel=0.1)
    assert size.step_bytes([distinct] * 48, 0, 2) == pytest.approx(60e9, rel=0.02)
    assert 2 * size.kv == 96 * 1024
