"""Tells vLLM of our model classes; vLLM calls `register` in each of its processes.

An entry point of the package (`vllm.general_plugins`). Knows the classes by name only, so that a vLLM that
serves something else beside us loads nothing of ours.
"""

from __future__ import annotations

ARCHITECTURES = {
    "qwen3_vl": "FoveaQwen3VLForConditionalGeneration",
    "qwen3_vl_moe": "FoveaQwen3VLMoeForConditionalGeneration",
}


def register() -> None:
    from vllm import ModelRegistry

    for name in ARCHITECTURES.values():
        ModelRegistry.register_model(name, f"decoder_svc.vllm_engine.model:{name}")
