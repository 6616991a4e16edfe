"""A block of the vision tower, on the weights of its module.

The caller runs attention between the two halves. Independent of images, grids and batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class Block:
    """A transformer block; updates `x` (patches, width) in place."""

    def __init__(self, module: Any, heads: int, activation: str) -> None:
        self._norm1, self._norm2, self._mlp = module.norm1, module.norm2, module.mlp
        self._proj: nn.Linear = module.attn.proj
        self._heads = heads
        qkv = module.attn.qkv
        order = _pairs(qkv.in_features, heads).to(qkv.weight.device)
        self._qkv_weight, self._qkv_bias = qkv.weight[order], qkv.bias[order]
        self._activation = _activation(activation, qkv.weight)

    def qkv(self, x: Tensor, rotations: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values, (patches, heads, head_dim) each; queries and keys are rotated by
        position.
        """
        packed = torch.addmm(self._qkv_bias, self._norm1(x), self._qkv_weight.t())
        packed = packed.view(len(x), 3, self._heads, -1)
        _rotate(packed[:, :2], rotations[:, None, None])
        return packed.unbind(1)

    def add(self, x: Tensor, attended: Tensor) -> None:
        """Add the attention output, then the MLP output."""
        _add_linear(x, attended.flatten(1), self._proj)
        hidden = self._activation(self._mlp.linear_fc1(self._norm2(x)))
        _add_linear(x, hidden, self._mlp.linear_fc2)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU's tanh approximation as x * sigmoid(...): the same function at under half of tanh's CPU cost."""
    slope = 2 * math.sqrt(2 / math.pi)
    inner = torch.addcmul(x.new_tensor(slope), x, x, value=0.044715 * slope)
    return inner.mul_(x).sigmoid_().mul_(x)


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


_fused_gelu_tanh = partial(F.gelu, approximate="tanh")
ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_new": _fused_gelu_tanh,
    "gelu_pytorch_tanh": _fused_gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}
"""By the names that `fovea.architecture` admits."""


def _activation(name: str, weight: Tensor) -> Activation:
    """The model's own, or a faster equivalent. Not in bf16, where each step would round."""
    own = ACTIVATIONS[name]
    on_cpu = weight.device.type == "cpu" and weight.dtype is torch.float32
    return gelu_tanh if on_cpu and own is _fused_gelu_tanh else own


def _pairs(width: int, heads: int) -> Tensor:
    """The order of the qkv outputs that makes the two values of a rotary pair adjacent.

    Queries and keys share the order, so their dot products are unchanged. Values keep their order.
    """
    half = width // heads // 2
    head = torch.arange(2 * half).view(2, half).t().flatten()
    rotated = (torch.arange(2 * heads)[:, None] * 2 * half + head).flatten()
    return torch.cat([rotated, torch.arange(2 * width, 3 * width)])


def _rotate(x: Tensor, rotations: Tensor) -> None:
    """Rotate adjacent pairs in place, in float32 for every dtype, as transformers does."""
    floats = x.float()
    torch.view_as_complex(floats.view(*floats.shape[:-1], -1, 2)).mul_(rotations)
    if x.dtype is not torch.float32:
        x.copy_(floats)


def _add_linear(x: Tensor, y: Tensor, linear: nn.Linear) -> None:
    """x += linear(y), without a temporary tensor."""
    x.addmm_(y, linear.weight.t()).add_(linear.bias)
