"""What reading a prompt costs: floating point operations from the configuration, time from experience.

Counts the multiplications of matrices, at two operations a weight, and attention over what stands before;
norms and activations are left out. This module knows no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECENT = 0.2
"""How much one answer moves the rate."""


@dataclass(frozen=True)
class PrefillCost:
    """`weights` meet every token, `attention` is layers * heads * head size, `head` meets the last one."""

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
        """Of a prompt of so many tokens, none of which is in the cache."""
        seen = tokens * (tokens + 1) / 2
        return 2.0 * (self.weights * tokens + self.head) + 4.0 * self.attention * seen


def _feed_forward(text: Mapping[str, Any], layer: int) -> int:
    """Weights of a layer's MLP that one token meets."""
    hidden, experts = text["hidden_size"], text.get("num_experts", 0)
    sparse = experts and layer not in (text.get("mlp_only_layers") or ())
    if not sparse or (layer + 1) % text.get("decoder_sparse_step", 1):
        return int(3 * hidden * text["intermediate_size"])
    each = 3 * hidden * text["moe_intermediate_size"]
    return int(text["num_experts_per_tok"] * each + hidden * experts)


class PrefillRate:
    """Milliseconds a token that the last answers took to read their prompts."""

    def __init__(self) -> None:
        self._ms_a_token = 0.0

    def note(self, tokens: int, ms: float) -> None:
        """One answer; a prompt that was cached tells nothing."""
        if tokens > 0 and ms > 0:
            rate = ms / tokens
            before = self._ms_a_token or rate
            self._ms_a_token = before + RECENT * (rate - before)

    def ms(self, tokens: int) -> float:
        """For so many tokens; 0 before the first answer."""
        return tokens * self._ms_a_token
