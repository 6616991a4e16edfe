"""Registers our model classes with vLLM, which calls `register` in each of its processes.

An entry point of the package (`vllm.general_plugins`). Classes are registered by name, so that a vLLM that
serves other models loads none of our code.
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
