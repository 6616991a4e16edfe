"""Rotary angles equal those of transformers, bit by bit, on every path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.load import load_text
from decoder_svc.model.rotary import RotaryEmbedding
from standin import model_dir
from tests import tiny


@pytest.fixture(params=["tiny", "standin"])
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    folder = tiny.checkpoint(tmp_path / "tiny") if request.param == "tiny" else model_dir()
    checkpoint = Checkpoint(folder)
    devices = [torch.device("cpu")] * checkpoint.config.text_config.num_hidden_layers
    return load_text(checkpoint, torch.float32, devices).text.rotary_emb


def positions(tokens: int) -> torch.Tensor:
    return torch.randint(30_000, (3, tokens), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fast_rotary_angles_equal_the_module(module: Any, dtype: torch.dtype) -> None:
    turns, like = RotaryEmbedding(module), torch.zeros(1, dtype=dtype)
    assert turns.fast
    cos, sin = turns(positions(50), like)
    expected_cos, expected_sin = module(like, positions(50)[:, None])
    half = sin.shape[-1] // 2
    assert torch.equal(cos[:, 0], expected_cos[0])
    assert torch.equal(torch.cat([-sin[:, 0, :half], sin[:, 0, half:]], -1), expected_sin[0])
    assert (cos.dtype, cos.shape) == (dtype, (50, 1, 2 * half))


def test_other_rotary_modules_are_called(module: Any) -> None:
    class Odd:
        """Its frequencies depend on the longest position, as those of dynamic scaling do."""

        inv_freq = module.inv_freq
        calls = 0

        def __call__(self, x: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls += 1
            return module(x, places * (1 + (places.max() > 9)))

    odd = Odd()
    turns = RotaryEmbedding(odd)
    calls = odd.calls
    cos, _ = turns(positions(20), torch.zeros(1))
    assert (turns.fast, odd.calls) == (False, calls + 1)
    assert torch.equal(cos[:, 0], module(torch.zeros(1), 2 * positions(20)[:, None])[0][0])
