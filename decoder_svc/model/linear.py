"""Weights at rest and how they are multiplied: as floats, or in int8 with a scale per row.

int8 halves the resident bytes and the bytes that a decode step reads. It is converted to float when used, or
multiplied directly if torch has a kernel. Independent of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 1 << 18  # values of a weight
PIECE, PIECES_TOKENS = 64, 1024  # rows per piece, most tokens; measured up to 512: as fast or faster
KERNEL_WIDTH = 16  # torch's int8 kernel reads beyond weights whose width is no multiple of this
KERNEL_TOKENS = 32  # with more tokens, a conversion and a float product are faster than the int8 kernel


@dataclass(frozen=True, eq=False)
class Int8:
    """`values` (..., out, in) of int8, `scales` (..., out): weight = values * scales."""

    values: Tensor
    scales: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Int8:
        """Symmetric, by output row."""
        scales = (weight.float().abs().amax(-1).clamp_min(1e-12) / 127).to(weight.dtype)
        values = (weight.float() / scales.float()[..., None]).round_().clamp_(-127, 127).to(torch.int8)
        return cls(values, scales)

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
        suits = x.device.type == "cpu" and self.values.shape[-1] % KERNEL_WIDTH == 0
        if suits and len(x) <= KERNEL_TOKENS:
            half = torch.bfloat16  # the kernel is slow with other types
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
    """`x` (tokens, in) times `weight` (out, in), to (tokens, out)."""
    if not isinstance(weight, Tensor):
        return weight.linear(x)
    return _in_pieces(x, weight) if _is_slow_whole(x, weight) else F.linear(x, weight)


def is_large(weight: Weight) -> bool:
    """Whether reading the weight takes longer than a few calls."""
    rows, width = (weight if isinstance(weight, Tensor) else weight.values).shape[-2:]
    return rows * width >= LARGE


def _is_slow_whole(x: Tensor, weight: Tensor) -> bool:
    """On a CPU, torch's product of few tokens and a large fp32 weight runs at a tenth of memory speed."""
    fp32_on_cpu = x.device.type == "cpu" and x.dtype is torch.float32
    return fp32_on_cpu and 1 < len(x) <= PIECES_TOKENS and is_large(weight) and len(weight) % PIECE == 0


def _in_pieces(x: Tensor, weight: Tensor) -> Tensor:
    """Many small products, which threads share, instead of a large product, which they do not."""
    pieces = weight.view(-1, PIECE, weight.shape[1]).transpose(1, 2)
    out = torch.bmm(x.expand(len(pieces), -1, -1), pieces)
    return out.transpose(0, 1).reshape(len(x), -1)


def stack(parts: Sequence[Weight]) -> Weight:
    """Several weights for the same input as a single weight, for a single product."""
    if all(isinstance(part, Int8) for part in parts):
        return Int8.cat([part for part in parts if isinstance(part, Int8)])
    return torch.cat([part for part in parts if isinstance(part, Tensor)])
