"""What a Qwen3-VL costs by its config alone: weights, KV and arithmetic of a step, of a prompt, of an image.

Arithmetic counts a multiplication and an addition as two, matrix products and attention only. Knows no model
that runs and no machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def expected_distinct(experts: int, each: int, tokens: int) -> float:
    """How many experts of a layer `tokens` tokens touch that choose `each` evenly and independently."""
    return experts * (1 - (1 - each / experts) ** tokens)


@dataclass(frozen=True)
class TextSize:
    """A MoE language model; every figure counts values, not bytes, unless it says so."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    each: int
    expert_width: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> TextSize:
        """From the text config of transformers."""
        return cls(
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.num_experts,
            config.num_experts_per_tok,
            config.moe_intermediate_size,
            config.vocab_size,
        )

    @property
    def expert(self) -> int:
        """One expert of one layer: gate, up and down."""
        return 3 * self.hidden * self.expert_width

    @property
    def attention(self) -> int:
        """The four projections of one layer."""
        return 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def others(self) -> int:
        """What every step reads whatever the routers say: attention, routers, norms, the head. Of the
        embedding a step reads a row a token, which is nothing beside them.
        """
        norms = 2 * self.hidden + 2 * self.head_dim
        layer = self.attention + self.hidden * self.experts + norms
        return self.layers * layer + self.hidden + self.vocabulary * self.hidden

    @property
    def kv(self) -> int:
        """Keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def step_bytes(self, distinct: Sequence[float], context: float, itemsize: int) -> float:
        """What a decode step cannot but read: the `distinct` experts that each layer touches, the other
        weights once, and the KV of `context` tokens, those of all its sequences together.
        """
        return itemsize * (sum(distinct) * self.expert + self.others + context * self.kv)

    def prefill_flops(self, tokens: int) -> float:
        """Of a prompt; the head runs for its last token alone."""
        active = self.attention + self.hidden * self.experts + self.each * self.expert
        pairs = tokens * (tokens + 1) / 2
        return (
            2.0 * tokens * self.layers * active
            + 4.0 * pairs * self.layers * self.heads * self.head_dim
            + 2.0 * self.vocabulary * self.hidden
        )


@dataclass(frozen=True)
class VisionSize:
    """A vision tower; `levels` deepstack mergers beside the last one."""

    hidden: int
    depth: int
    intermediate: int
    patch_values: int
    merged: int
    out: int
    levels: int

    @classmethod
    def of(cls, config: Any) -> VisionSize:
        """From the vision config of transformers."""
        return cls(
            config.hidden_size,
            config.depth,
            config.intermediate_size,
            config.in_channels * config.temporal_patch_size * config.patch_size**2,
            config.spatial_merge_size**2,
            config.out_hidden_size,
            len(config.deepstack_visual_indexes),
        )

    def flops(self, patches: int) -> float:
        """Of one image: every patch attends to all patches of its image."""
        h, wide = self.hidden, self.merged * self.hidden
        block = 2.0 * patches * (4 * h * h + 2 * h * self.intermediate) + 4.0 * patches**2 * h
        merger = 2.0 * (patches / self.merged) * (wide * wide + wide * self.out)
        return 2.0 * patches * self.patch_values * h + self.depth * block + (1 + self.levels) * merger
