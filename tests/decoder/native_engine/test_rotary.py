"""Rotary angles equal those of transformers, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import Qwen3VLMoeTextRotaryEmbedding

from decoder_svc.model.rotary import RotaryEmbedding
from fovea import architecture
from standin import model_dir
from tests import tiny
from tests.decoder.native_engine.test_shapes import yarn

CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "theta": {"rope_theta": 100.0},
    "yarn": yarn(16),
    "yarn with its own factor": yarn(16, attention_factor=1.3, beta_fast=16.0, beta_slow=2.0, truncate=False),
    "yarn with scales": yarn(16, mscale=0.7, mscale_all_dim=1.4),
    "yarn trained on the whole context": yarn(16, original_max_position_embeddings=32768),
}


@pytest.fixture(params=[*CHANGES, "standin"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "standin":
        return model_dir()
    return tiny.checkpoint(tmp_path, "moe", head_dim=16, text=CHANGES[request.param])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_angles_equal_those_of_transformers(folder: Path, dtype: torch.dtype) -> None:
    positions = torch.randint(30_000, (3, 50), generator=torch.Generator().manual_seed(1))
    like = torch.zeros(1, dtype=dtype)
    theirs = Qwen3VLMoeTextRotaryEmbedding(AutoConfig.from_pretrained(folder).text_config)
    expected_cos, expected_sin = theirs(like, positions[:, None])
    ours = RotaryEmbedding(architecture.load(folder).text_config, torch.device("cpu"))
    cos, sin = ours(positions, like)
    half = sin.shape[-1] // 2
    assert torch.equal(cos[:, 0], expected_cos[0])
    assert torch.equal(torch.cat([-sin[:, 0, :half], sin[:, 0, half:]], -1), expected_sin[0])
    assert (cos.dtype, cos.shape) == (dtype, (50, 1, 2 * half))
