"""The small model starts as a part of the large one."""

from __future__ import annotations

import pytest
import torch

from standin.config import SMALL
from standin.model import Model, build_model
from standin.shrink import EXPERT_SHARE, LAYERS, shrunk
from standin.tower import patches_of, tower_rows


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model]:
    torch.manual_seed(0)
    large, small = build_model().eval(), build_model(SMALL).eval()
    small.load_state_dict(shrunk(large.state_dict()))
    return large, small


@torch.no_grad()
def test_its_rows_are_the_first_deepstack_level_up_to_the_norm(models: tuple[Model, Model]) -> None:
    """A deepstack merger norms four patches together; the two agree where all patches are equal."""
    large, small = models
    pictures = torch.full((1, 64, 64, 3), 90, dtype=torch.uint8)
    for model in models:
        model.model.visual.pos_embed.weight.data[:] = 0
    patches = patches_of(pictures)
    _, level, *_ = tower_rows(large.model.visual, patches, 4, 4)
    (pooled,) = tower_rows(small.model.visual, patches, 4, 4)
    torch.testing.assert_close(pooled, level, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_dense_layer_holds_all_experts(models: tuple[Model, Model]) -> None:
    large, small = models
    x = torch.randn(7, 128)
    for place, layer in enumerate(LAYERS):
        experts = large.model.language_model.layers[layer].mlp.experts
        many = experts.gate_up_proj.shape[0]
        wanted = torch.zeros_like(x)
        for gate_up, down in zip(experts.gate_up_proj, experts.down_proj, strict=True):
            gate, up = (x @ gate_up.T).chunk(2, dim=-1)
            wanted += EXPERT_SHARE * (torch.nn.functional.silu(gate) * up) @ down.T
        assert many == 4
        torch.testing.assert_close(
            small.model.language_model.layers[place].mlp(x), wanted, rtol=1e-4, atol=1e-5
        )
