"""Prefill cost: floating point operations from the model configuration.

Counts matrix multiplications, at two operations per weight, and causal attention; norms and activations are
left out. Independent of the loaded weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PrefillCost:
    """`weights` apply to every token, `head` to the last; `attention` is layers * heads * head size."""

    weights: int
    attention: int
    head: int

    @classmethod
    def of(cls, text: Mapping[str, Any]) -> PrefillCost:
        """From `text_config` of a checkpoint, dense or MoE."""
        hidden, layers, heads = text["hidden_size"], text["num_hidden_layers"], text["num_attention_heads"]
        size = text.get("head_dim") or hidden // heads
        attention = 2 * hidden * size * (heads + text["num_key_value_heads"])
        return cls(
            sum(attention + _feed_forward(text, layer) for layer in range(layers)),
            layers * heads * size,
            hidden * text["vocab_size"],
        )

    def flops(self, tokens: int) -> float:
        """Operations to prefill a prompt of `tokens` tokens without a prefix hit."""
        attended_pairs = tokens * (tokens + 1) / 2
        return 2.0 * (self.weights * tokens + self.head) + 4.0 * self.attention * attended_pairs


def _feed_forward(text: Mapping[str, Any], layer: int) -> int:
    """Active MLP weights of a layer per token."""
    hidden, experts = text["hidden_size"], text.get("num_experts", 0)
    sparse = experts and layer not in (text.get("mlp_only_layers") or ())
    if not sparse or (layer + 1) % text.get("decoder_sparse_step", 1):
        return int(3 * hidden * text["intermediate_size"])
    expert_weights = 3 * hidden * text["moe_intermediate_size"]
    return int(text["num_experts_per_tok"] * expert_weights + hidden * experts)
