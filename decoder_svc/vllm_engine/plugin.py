"""Registers our model classes and our tokens with vLLM, which calls `register` in each of its processes.

An entry point of the package (`vllm.general_plugins`). Classes are registered by name, so that a vLLM that
serves other models loads none of our code.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llguidance import LLTokenizer

TOKENS = "_FOVEA_VLLM_TOKENS"
"""Variable of the environment with the packed TokenSet of the checkpoint, set by `launch`. It does not begin
with FOVEA_, because a service that inherits it would refuse it as an unknown setting.
"""

ARCHITECTURES = {
    "qwen3_vl": "FoveaQwen3VLForConditionalGeneration",
    "qwen3_vl_moe": "FoveaQwen3VLMoeForConditionalGeneration",
}


def register() -> None:
    from vllm import ModelRegistry

    for name in ARCHITECTURES.values():
        ModelRegistry.register_model(name, f"decoder_svc.vllm_engine.model:{name}")
    if TOKENS in os.environ:
        from llguidance import hf

        hf.from_tokenizer = _tokens


def _tokens(*_: Any, **__: Any) -> LLTokenizer:
    """What vLLM takes in place of the tokens that llguidance reads from a tokenizer.

    Formats then have the same tokens as in the native engine. llguidance itself would allow a single end of
    several, and refuse `<tool_call>` where the tokenizer has it as an added token.
    """
    from decoder_svc.sampling.trie import TokenSet

    return TokenSet.parse(os.environ[TOKENS]).load()
