"""Weights at rest and how they are multiplied: as they are, or in int8 with a scale a row.

int8 halves what is resident and what a decode step reads; it is made float again as it is used, or
multiplied as it is where torch has a kernel for that. Knows no layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL_TOKENS = 32  # above it, float once and a large product is faster than the int8 kernel


@dataclass(frozen=True, eq=False)
class Int8:
    """`values` (..., out, in) of int8, `scales` (..., out): weight = values * scales."""

    values: Tensor
    scales: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Int8:
        """Symmetric, by output row; the largest of a row is exact."""
        scales = weight.float().abs().amax(-1).clamp_min(1e-12) / 127
        values = (weight.float() / scales[..., None]).round_().to(torch.int8)
        return cls(values, scales.to(weight.dtype))

    @classmethod
    def cat(cls, parts: Sequence[Int8]) -> Int8:
        return cls(torch.cat([p.values for p in parts]), torch.cat([p.scales for p in parts]))

    @property
    def device(self) -> torch.device:
        return self.values.device

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | Tensor) -> Int8:
        return Int8(self.values[index], self.scales[index])

    def linear(self, x: Tensor) -> Tensor:
        """`x` (tokens, in) to (tokens, out)."""
        if x.device.type == "cpu" and len(x) <= KERNEL_TOKENS:
            half = torch.bfloat16  # the kernel of other types is slow
            out = torch._weight_int8pack_mm(x.to(half), self.values, self.scales.to(half))
            return out.to(x.dtype)
        return F.linear(x, dense(self, x.dtype))


Weight = Tensor | Int8


def dense(weight: Weight, dtype: torch.dtype) -> Tensor:
    """As floats of `dtype`."""
    if isinstance(weight, Tensor):
        return weight
    return weight.values.to(dtype) * weight.scales[..., None].to(dtype)


def linear(x: Tensor, weight: Weight) -> Tensor:
    return F.linear(x, weight) if isinstance(weight, Tensor) else weight.linear(x)


def stack(parts: Sequence[Weight]) -> Weight:
    """One weight in the place of several over the same input: one product instead of several."""
    if all(isinstance(part, Int8) for part in parts):
        return Int8.cat([part for part in parts if isinstance(part, Int8)])
    return torch.cat([part for part in parts if isinstance(part, Tensor)])
