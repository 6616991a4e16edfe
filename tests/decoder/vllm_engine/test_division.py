"""What vLLM can divide over several ranks, and what each rank holds. Runs without vLLM."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from decoder_svc.errors import ModelNotDivisible
from decoder_svc.vllm_engine.division import Division
from fovea import architecture
from tests import tiny

# Of the tiny MoE: 4 layers, 3 deepstack levels, 4 heads, 2 KV heads, experts of 24.


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> architecture.Architecture:
    return architecture.load(tiny.checkpoint(tmp_path_factory.mktemp("moe"), "moe"))


@pytest.mark.parametrize(
    "division", [Division(1, (4,)), Division(2, (4,)), Division(4, (3, 1)), Division(1, (3, 1))]
)
def test_divisions_that_vllm_serves(moe: architecture.Architecture, division: Division) -> None:
    division.check(moe)


@pytest.mark.parametrize(
    ("division", "setting", "why"),
    [
        (Division(8, (4,)), "tensor_parallel", "does not divide num_attention_heads, 4"),
        (Division(3, (4,)), "tensor_parallel", "neither divides num_key_value_heads, 2, nor"),
        (Division(1, (2, 2)), "pipeline_parallel", "the first stage 2 of 4 layers, .* 3 deepstack levels"),
        (Division(1, (3, 1, 0)), "pipeline_parallel", "leaves a stage without a layer of 4"),
    ],
)
def test_a_refusal_names_the_setting_and_its_limit(
    moe: architecture.Architecture, division: Division, setting: str, why: str
) -> None:
    with pytest.raises(ModelNotDivisible, match=f"^{setting} [0-9] .*{why}") as caught:
        division.check(moe)
    assert caught.value.violations[0].field == setting


@pytest.mark.parametrize(
    ("text", "vision", "tensor", "why"),
    [
        ({"moe_intermediate_size": 25}, {}, 2, "moe_intermediate_size, 25"),
        ({"mlp_only_layers": [0], "intermediate_size": 97}, {}, 2, "intermediate_size, 97"),
        ({"num_attention_heads": 12, "num_key_value_heads": 4}, {}, 6, "num_key_value_heads, 4"),
        ({}, {"num_heads": 1}, 2, "vision_config.num_heads, 1"),
    ],
)  # fmt: skip
def test_every_width_counts(
    tmp_path: Path, text: dict[str, int], vision: dict[str, int], tensor: int, why: str
) -> None:
    model = tiny.checkpoint(tmp_path, "moe", text=text, vision=vision)
    with pytest.raises(ModelNotDivisible, match=why):
        Division(tensor, (4,)).check(architecture.load(model))


def test_a_width_that_no_layer_has_does_not_count(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path, "moe", text={"intermediate_size": 97})
    Division(2, (4,)).check(architecture.load(model))


@pytest.mark.parametrize(
    ("division", "share"),
    [
        (Division(1, (4,)), Fraction(1)),
        (Division(2, (4,)), Fraction(1, 2)),
        (Division(4, (4,)), Fraction(1, 2)),  # two ranks hold a copy of each KV head
        (Division(1, (3, 1)), Fraction(3, 4)),
        (Division(2, (3, 1)), Fraction(3, 8)),
    ],
)
def test_the_share_of_the_fullest_rank(
    moe: architecture.Architecture, division: Division, share: Fraction
) -> None:
    assert division.kv_share(moe.text_config) == share
