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
def test_its_rows_are_those_of_the_large_tower_cut_after_its_first_blocks(
    models: tuple[Model, Model],
) -> None:
    large, small = models
    patches = patches_of(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
    (rows,) = tower_rows(small.model.visual, patches, 4, 6)
    whole = large.model.visual.blocks
    large.model.visual.blocks = whole[: SMALL.vision["depth"]]
    cut = tower_rows(large.model.visual, patches, 4, 6)[0]
    large.model.visual.blocks = whole
    torch.testing.assert_close(rows, cut)


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
