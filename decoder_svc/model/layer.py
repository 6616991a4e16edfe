"""A transformer layer of Qwen3-VL over a flat batch of tokens: few calls, no synchronisation.

The arithmetic is that of transformers' module. Projections of the same input are a single product,
and keys and values go to the pages in a single write. Independent of requests and images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from decoder_svc.model.attention import Attention, AttentionPlan
from decoder_svc.model.experts import Experts
from decoder_svc.model.linear import linear
from decoder_svc.model.load import TextWeights
from decoder_svc.model.pages import LayerPages
from decoder_svc.model.rotary import Rotary

Mlp = Callable[[Tensor], Tensor]


class Layer:
    def __init__(self, weights: TextWeights, number: int, attention: Attention) -> None:
        module: Any = weights.text.layers[number]
        prefix = f"layers.{number}."
        attend, size = module.self_attn, module.self_attn.head_dim
        self._heads = attend.q_proj.out_features // size
        self._kv_heads = attend.k_proj.out_features // size
        self._qkv = weights.stacked([f"{prefix}self_attn.{name}_proj.weight" for name in "qkv"])
        self._out = weights.weight(f"{prefix}self_attn.o_proj.weight")
        self._scale: float = attend.scaling
        self._attention = attention
        self._eps: float = module.input_layernorm.variance_epsilon
        self._before, self._between = module.input_layernorm.weight, module.post_attention_layernorm.weight
        # A weight per head, because queries and keys are normed and rotated together.
        self._qk_norm = torch.cat(
            [
                attend.q_norm.weight.expand(self._heads, size),
                attend.k_norm.weight.expand(self._kv_heads, size),
            ]
        )
        mixed = hasattr(module.mlp, "experts")
        self._mlp: Mlp = (MoeMlp if mixed else DenseMlp)(weights, f"{prefix}mlp.", module.mlp)

    def __call__(
        self, hidden: Tensor, rotary: Rotary, slots: Tensor, pages: LayerPages, plan: AttentionPlan
    ) -> Tensor:
        """`hidden` (tokens, hidden) to the same shape."""
        normed = _norm(hidden, self._before, self._eps)
        hidden = hidden + self._attend(normed, rotary, slots, pages, plan)
        return hidden + self._mlp(_norm(hidden, self._between, self._eps))

    def _attend(
        self, x: Tensor, rotary: Rotary, slots: Tensor, pages: LayerPages, plan: AttentionPlan
    ) -> Tensor:
        cos, sin = rotary
        heads, rotated = self._heads, self._heads + self._kv_heads
        qkv = linear(x, self._qkv).view(len(x), rotated + self._kv_heads, -1)
        qk = _norm(qkv[:, :rotated], self._qk_norm, self._eps)
        qk = torch.addcmul(qk * cos, qk.roll(qk.shape[-1] // 2, -1), sin)
        qkv[:, heads:rotated] = qk[:, heads:]
        pages.write(slots, qkv[:, heads:].view(len(x), 2, self._kv_heads, -1))
        return linear(self._attention(qk[:, :heads], pages, plan, self._scale).flatten(1), self._out)


class DenseMlp:
    """A gated feed-forward network."""

    def __init__(self, weights: TextWeights, prefix: str, module: Any) -> None:
        self._gate_up = weights.stacked([f"{prefix}gate_proj.weight", f"{prefix}up_proj.weight"])
        self._down = weights.weight(f"{prefix}down_proj.weight")

    def __call__(self, x: Tensor) -> Tensor:
        gate, up = linear(x, self._gate_up).chunk(2, -1)
        return linear(F.silu(gate) * up, self._down)


class MoeMlp:
    """The k best experts of a token by softmax. Their shares add up to 1."""

    def __init__(self, weights: TextWeights, prefix: str, module: Any) -> None:
        self._gate, self._k = module.gate.weight, module.gate.top_k
        gate_up, down = (weights.weight(f"{prefix}experts.{name}_proj") for name in ("gate_up", "down"))
        self._experts = Experts(gate_up, down)

    def __call__(self, x: Tensor) -> Tensor:
        shares, chosen = F.linear(x, self._gate).softmax(-1, dtype=torch.float32).topk(self._k, -1)
        shares = shares / shares.sum(-1, keepdim=True)
        return self._experts(x, chosen, shares.to(x.dtype))


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm computed in fp32. On a CPU torch's own function makes more calls than this."""
    if x.device.type != "cpu":
        return F.rms_norm(x, x.shape[-1:], None, eps) * weight
    wide = x.float()
    return (wide * wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()).to(x.dtype) * weight
