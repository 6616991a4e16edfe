"""One block of the vision tower, on the weights of the `transformers` module that it is made of.

What concerns one patch at a time goes in the slices that the caller gives; attention happens in between and
elsewhere. Knows no image, no grid and no batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class Block:
    """One transformer block; works on `x` in place."""

    def __init__(self, module: Any, heads: int, activation: str) -> None:
        self._norm1, self._norm2, self._mlp = module.norm1, module.norm2, module.mlp
        self._proj = module.attn.proj
        self._heads = heads
        order = _pairs(module.attn.qkv.weight.shape[1], heads).to(module.attn.qkv.weight.device)
        self._qkv_weight = module.attn.qkv.weight[order]
        self._qkv_bias = module.attn.qkv.bias[order]
        self._activation = _activation(module.mlp.act_fn, activation, self._qkv_weight)

    def qkv(self, x: Tensor, turns: Tensor, slices: Sequence[slice]) -> Sequence[Tensor]:
        """Queries, keys and values, (patches, heads, head_dim) each, the first two turned by their place."""
        packed = x.new_empty(len(x), len(self._qkv_weight))
        for rows in slices:
            part = packed[rows]
            torch.addmm(self._qkv_bias, self._norm1(x[rows]), self._qkv_weight.t(), out=part)
            _turn(part.view(len(part), 3, self._heads, -1)[:, :2], turns[rows, None, None])
        return packed.view(len(x), 3, self._heads, -1).unbind(1)

    def add(self, x: Tensor, attended: Tensor, slices: Sequence[slice]) -> None:
        """What attention found, then what the MLP makes of it."""
        for rows in slices:
            part = x[rows]
            _add_linear(part, attended[rows].flatten(1), self._proj)
            hidden = self._activation(self._mlp.linear_fc1(self._norm2(part)))
            _add_linear(part, hidden, self._mlp.linear_fc2)


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
    torch.view_as_complex(wide.unflatten(-1, (-1, 2))).mul_(turns)
    if x.dtype is not torch.float32:
        x.copy_(wide)


def _add_linear(x: Tensor, y: Tensor, linear: nn.Linear) -> None:
    """x += linear(y), without a tensor between."""
    x.addmm_(y, linear.weight.t()).add_(linear.bias)


def _activation(own: Activation, name: str, weight: Tensor) -> Activation:
    """That of the model; the tanh form of GELU has a faster way to the same values on a CPU in float32."""
    faster = weight.device.type == "cpu" and weight.dtype is torch.float32 and name == "gelu_pytorch_tanh"
    return gelu_tanh if faster else own


_SLOPE = 2 * math.sqrt(2 / math.pi)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU's tanh form, as x * sigmoid(...): the same function, at less than half of what tanh costs here."""
    inner = torch.addcmul(x.new_tensor(_SLOPE), x, x, value=0.044715 * _SLOPE)
    return inner.mul_(x).sigmoid_().mul_(x)
