"""The small model's first weights, cut from those of the large one.

Its tower is the first blocks of the large tower with its last merger. Its text layers are two of the large ones;
a dense layer holds all experts side by side. Of all pairs of layers, of both mergers and of two shares of an
expert, these choices had the least loss before training. Independent of files.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from standin.config import SMALL

LAYERS = (0, 2)
"""Which layers of the large text model."""
EXPERT_SHARE = 0.5
"""What an expert weighs in the dense layer: as much as one of the two that a router chooses."""
VISUAL, TEXT = "model.visual.", "model.language_model."
WHOLE = (
    VISUAL + "patch_embed.", VISUAL + "pos_embed.", VISUAL + "merger.", TEXT + "embed_tokens.", TEXT + "norm.",
    "lm_head.",
)  # fmt: skip


def shrunk(large: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The small model's parameters, by their transformers names as `large` has them."""
    small = {name: value for name, value in large.items() if name.startswith(WHOLE)}
    for block in range(SMALL.vision["depth"]):
        small |= _moved(large, f"{VISUAL}blocks.{block}.", f"{VISUAL}blocks.{block}.")
    for place, layer in enumerate(LAYERS):
        small |= _dense(_moved(large, f"{TEXT}layers.{layer}.", f"{TEXT}layers.{place}."))
    return small


def _moved(tensors: Mapping[str, Tensor], start: str, to: str) -> dict[str, Tensor]:
    return {to + name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _dense(layer: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """gate_up_proj (experts, 2 * inner, hidden) and down_proj (experts, hidden, inner) as three matrices."""
    dense = {}
    for name, value in layer.items():
        start, _, part = name.partition("experts.")
        if part == "gate_up_proj":
            gate, up = value.chunk(2, dim=1)
            dense |= {
                f"{start}gate_proj.weight": gate.flatten(0, 1),
                f"{start}up_proj.weight": up.flatten(0, 1),
            }
        elif part == "down_proj":
            dense[f"{start}down_proj.weight"] = EXPERT_SHARE * value.transpose(0, 1).flatten(1)
        elif not name.endswith("mlp.gate.weight"):
            dense[name] = value
    return dense
