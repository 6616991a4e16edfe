"""One block of the vision tower, on the weights of the `transformers` module that it is made of.

Attention happens between its two halves and elsewhere. Knows no image, no grid and no batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class Block:
    """One transformer block; works on `x` (patches, width) in place."""

    def __init__(self, module: Any, heads: int, activation: str) -> None:
        self._norm1, self._norm2, self._mlp = module.norm1, module.norm2, module.mlp
        self._proj: nn.Linear = module.attn.proj
        self._heads = heads
        qkv = module.attn.qkv
        order = _pairs(qkv.in_features, heads).to(qkv.weight.device)
        self._qkv_weight, self._qkv_bias = qkv.weight[order], qkv.bias[order]
        self._activation = _activation(module.mlp.act_fn, activation, qkv.weight)

    def qkv(self, x: Tensor, turns: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values, (patches, heads, head_dim) each, the first two turned by their place."""
        packed = torch.addmm(self._qkv_bias, self._norm1(x), self._qkv_weight.t())
        packed = packed.view(len(x), 3, self._heads, -1)
        _turn(packed[:, :2], turns[:, None, None])
        return packed.unbind(1)

    def add(self, x: Tensor, attended: Tensor) -> None:
        """What attention found, then what the MLP makes of it."""
        _add_linear(x, attended.flatten(1), self._proj)
        hidden = self._activation(self._mlp.linear_fc1(self._norm2(x)))
        _add_linear(x, hidden, self._mlp.linear_fc2)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU's tanh form as x * sigmoid(...): the same function, at less than half of what tanh costs a CPU."""
    slope = 2 * math.sqrt(2 / math.pi)
    inner = torch.addcmul(x.new_tensor(slope), x, x, value=0.044715 * slope)
    return inner.mul_(x).sigmoid_().mul_(x)


def _activation(own: Activation, name: str, weight: Tensor) -> Activation:
    """The model's own, or a faster way to the same values. Not in bf16, where each step would round."""
    faster = weight.device.type == "cpu" and weight.dtype is torch.float32 and name == "gelu_pytorch_tanh"
    return gelu_tanh if faster else own


def _pairs(width: int, heads: int) -> Tensor:
    """The order of the outputs of qkv in which the two values that turn together are neighbours.

    Queries and keys are put in the same order, so their products stay what they are; values stay in place.
    """
    half = width // heads // 2
    head = torch.arange(2 * half).view(2, half).t().flatten()
    turned = (torch.arange(2 * heads)[:, None] * 2 * half + head).flatten()
    return torch.cat([turned, torch.arange(2 * width, 3 * width)])


def _turn(x: Tensor, turns: Tensor) -> None:
    """Turn neighbouring pairs in place, in float32 whatever the dtype, as transformers does."""
    wide = x.float()
    torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2)).mul_(turns)
    if x.dtype is not torch.float32:
        x.copy_(wide)


def _add_linear(x: Tensor, y: Tensor, linear: nn.Linear) -> None:
    """x += linear(y), without a tensor between."""
    x.addmm_(y, linear.weight.t()).add_(linear.bias)
