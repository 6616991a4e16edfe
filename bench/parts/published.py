"""Configs by which a model is built without a download: Qwen3-VL-30B-A3B as published, and a small one.

The small one has the same parts, experts and M-RoPE sections included, so that what runs on it runs on the
large one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QWEN3_VL_30B_A3B: dict[str, Any] = json.loads(
    Path(__file__).with_name("qwen3_vl_30b_a3b.json").read_text(encoding="utf-8")
)

SMALL: dict[str, Any] = QWEN3_VL_30B_A3B | {
    "image_token_id": 391,
    "video_token_id": 392,
    "vision_start_token_id": 388,
    "vision_end_token_id": 389,
    "text_config": QWEN3_VL_30B_A3B["text_config"]
    | {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 400,
        "max_position_embeddings": 4096,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
        "bos_token_id": 380,
        "eos_token_id": 381,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
    },
    "vision_config": QWEN3_VL_30B_A3B["vision_config"]
    | {
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "num_position_embeddings": 256,
        "out_hidden_size": 64,
        "deepstack_visual_indexes": [0, 1, 2],
    },
}

MODELS = {"30b": QWEN3_VL_30B_A3B, "small": SMALL}
