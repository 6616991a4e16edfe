"""The forms of the stand-in: a Qwen3-VL-MoE small enough to commit and to train on two cores, and a dense
Qwen3-VL of less than half its size.

Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import Qwen3VLConfig, Qwen3VLMoeConfig

IMAGE_SIZE = {"shortest_edge": 4096, "longest_edge": 16777216}  # pixel counts, as published
CELL = 32  # pixels a side of one visual token

VISION: dict[str, Any] = {
    "model_type": "qwen3_vl_moe",
    "depth": 5,
    "hidden_size": 128,
    "hidden_act": "gelu_pytorch_tanh",
    "intermediate_size": 256,
    "num_heads": 4,
    "in_channels": 3,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 128,
    "num_position_embeddings": 256,
    "deepstack_visual_indexes": [1, 2, 3],
    "initializer_range": 0.02,
}

TEXT: dict[str, Any] = {
    "model_type": "qwen3_vl_moe_text",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "use_cache": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    # 2 x 48 != 128: a square gate_up would hide a transposed layout.
    "moe_intermediate_size": 48,
    "rope_theta": 1000,
    "rope_scaling": {"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"},
}


@dataclass(frozen=True)
class Form:
    """What config.json and preprocessor_config.json of a model say."""

    model_type: str
    architecture: str
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    image_size: Mapping[str, int]

    @property
    def levels(self) -> int:
        """The pooled level and the deepstack levels."""
        return 1 + len(self.vision["deepstack_visual_indexes"])


LARGE = Form("qwen3_vl_moe", "Qwen3VLMoeForConditionalGeneration", VISION, TEXT, IMAGE_SIZE)

SMALL_TOKENS = 40
"""The visual tokens of the largest picture that the small model reads; larger ones are shrunk."""
_OF_EXPERTS = {
    "decoder_sparse_step", "mlp_only_layers", "num_experts", "num_experts_per_tok", "norm_topk_prob",
    "moe_intermediate_size",
}  # fmt: skip
SMALL = Form(
    "qwen3_vl",
    "Qwen3VLForConditionalGeneration",
    {**VISION, "model_type": "qwen3_vl", "depth": 2, "deepstack_visual_indexes": []},
    {
        **{name: value for name, value in TEXT.items() if name not in _OF_EXPERTS},
        "model_type": "qwen3_vl_text",
        "num_hidden_layers": 2,
        "intermediate_size": TEXT["num_experts"] * TEXT["moe_intermediate_size"],
    },
    {**IMAGE_SIZE, "longest_edge": SMALL_TOKENS * CELL * CELL},
)


def build_config(form: Form, vocab_size: int, ids: dict[str, int]) -> Qwen3VLConfig | Qwen3VLMoeConfig:
    """The whole configuration; `ids` are the ids of the Qwen special tokens by their strings."""
    text = dict(form.text)
    theta, scaling = text.pop("rope_theta"), text.pop("rope_scaling")
    kind = Qwen3VLMoeConfig if form == LARGE else Qwen3VLConfig
    return kind(
        text_config={
            **text,
            "vocab_size": vocab_size,
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": False,
            "rope_parameters": {**scaling, "rope_theta": theta},
        },
        vision_config=dict(form.vision),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
