"""`bench.gpu` on the CPU with a small config: every part runs, a wrong token is seen, nothing is claimed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from bench import gpu
from bench.parts import gpu_run
from bench.parts.gpu_run import Found, Setup
from bench.parts.in_process import Words, encode, load_tower, picture
from bench.parts.published import QWEN3_VL_30B_A3B, SMALL
from bench.parts.random_checkpoint import RandomCheckpoint
from bench.parts.reference import Reference
from bench.parts.sizes import TextSize, expected_distinct
from bench.parts.steps import random_prompts
from decoder_svc.model.checkpoint import HEAD, TEXT
from decoder_svc.model.load import load_text
from fovea.contract.rows import RowDtype

CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> RandomCheckpoint:
    return RandomCheckpoint(tmp_path_factory.mktemp("random"), SMALL, CPU, torch.float32)


@pytest.fixture(scope="module")
def reference(checkpoint: RandomCheckpoint) -> Reference:
    return Reference(checkpoint)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    setup = Setup(tmp_path_factory.mktemp("gpu"), SMALL, CPU, torch.float32, seed=0)
    return asyncio.run(gpu_run.measure(setup, gpu.SMALL, lambda told: None))


def test_every_figure_is_taken_and_the_answer_is_that_of_the_reference(found: Found) -> None:
    taken = gpu.measures(found, gpu.SMALL, seed=0)
    named = {"encode_64", "encode_96_share", "prefill_share", "decode_floor_1", "vs_generate", "ttft_cold_ms"}
    for name in named:
        value = taken[name].value
        assert value is not None
        assert value > 0, name
    assert (taken["mismatches"].value, taken["mismatches"].n) == (0, gpu.SMALL.answer)
    assert taken["prefill_share"].target == 0.35


def test_without_the_promised_gpu_all_figures_are_owed(found: Found) -> None:
    left = gpu.owed(gpu.measures(found, gpu.SMALL, seed=0))
    assert set(left) >= set(gpu.PROMISED)
    assert [name for name, measure in left.items() if measure.value is not None] == ["mismatches"]


def test_a_step_of_one_sequence_touches_as_many_experts_as_a_token_chooses(
    found: Found, reference: Reference
) -> None:
    layers, each = SMALL["text_config"]["num_hidden_layers"], SMALL["text_config"]["num_experts_per_tok"]
    (alone, *_), many = ([p.token_ids for p in random_prompts(380, n, 12, 0)] for n in (1, 12))
    assert reference.touched([alone]) == [each] * layers
    assert all(each < touched <= 8 for touched in reference.touched(many))
    assert found.step_bytes[4] > found.step_bytes[1]


def test_a_token_that_the_reference_would_not_choose_is_seen(
    checkpoint: RandomCheckpoint, reference: Reference
) -> None:
    encoded = encode(load_tower(checkpoint), picture(0, 64), RowDtype.FP32)
    words = Words(checkpoint.image_token_id, 388, 389, 380)
    prompt = words.about(encoded, words.random(5, 1), words.random(5, 2))
    first, second = reference.verdicts(prompt.token_ids, encoded.image, [7, 8])
    assert min(first.behind, second.behind) > gpu_run.TIES[torch.float32] * 100


def test_engine_and_reference_share_one_copy_of_the_weights(checkpoint: RandomCheckpoint) -> None:
    weights = load_text(checkpoint, torch.float32, [CPU] * 4)
    name = "layers.0.mlp.experts.gate_up_proj"
    assert weights.text.get_parameter(name).data_ptr() == checkpoint.read(TEXT + name).data_ptr()
    assert weights.head.data_ptr() == checkpoint.read(HEAD).data_ptr()


def test_sizes_are_those_of_the_modules(checkpoint: RandomCheckpoint) -> None:
    size = TextSize.of(checkpoint.config.text_config)
    weights = sum(
        torch.Size(shape).numel()
        for name, shape in checkpoint.shapes.items()
        if name.startswith((TEXT, HEAD)) and "embed_tokens" not in name
    )
    assert size.step_bytes([size.experts] * size.layers, 0, itemsize=1) == weights
    assert (
        size.step_bytes([0] * size.layers, 10, 2) - size.step_bytes([0] * size.layers, 0, 2) == 20 * size.kv
    )


def test_the_published_model_reads_what_is_known_of_it(tmp_path: Path) -> None:
    """6.6 GB a step at batch 1, 60 GB at 64, 96 KiB of KV a token; see docs/log.md for the floors."""
    config = RandomCheckpoint(tmp_path, QWEN3_VL_30B_A3B, CPU, torch.bfloat16).config.text_config
    size = TextSize.of(config)
    distinct = expected_distinct(size.experts, size.each, 64)
    assert distinct == pytest.approx(126, abs=1)
    assert size.step_bytes([size.each] * 48, 0, 2) == pytest.approx(6.6e9, rel=0.1)
    assert size.step_bytes([distinct] * 48, 0, 2) == pytest.approx(60e9, rel=0.02)
    assert 2 * size.kv == 96 * 1024
