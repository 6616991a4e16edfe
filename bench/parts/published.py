"""Configs by which a model is built without a download: Qwen3-VL-30B-A3B as published, and a small one.

The small one has the same parts, experts and M-RoPE sections among them, so that what runs on it runs on the
large one. Values only.
"""

from __future__ import annotations

from typing import Any

QWEN3_VL_30B_A3B: dict[str, Any] = {
    "architectures": ["Qwen3VLMoeForConditionalGeneration"],
    "model_type": "qwen3_vl_moe",
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_vl_moe_text",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5_000_000,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [24, 20, 20],
            "rope_type": "default",
        },
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "hidden_act": "silu",
        "attention_bias": False,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    "vision_config": {
        "model_type": "qwen3_vl_moe",
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "in_channels": 3,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 2304,
        "out_hidden_size": 2048,
        "deepstack_visual_indexes": [8, 16, 24],
    },
}

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
