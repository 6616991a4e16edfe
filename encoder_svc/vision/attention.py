"""Attention of the patches of each image to one another, many images in a batch.

Images lie one behind the other, those of one length side by side, and see only themselves. One
implementation is chosen at the start. Nothing here knows places: queries and keys were turned before.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ImageGroup:
    """`images` neighbours in the batch, of `length` patches each, from patch `start` on."""

    start: int
    images: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.images * self.length


@dataclass(frozen=True)
class Packing:
    """Where the images of a batch lie. `lengths` are in patches, equal ones side by side."""

    lengths: tuple[int, ...]
    device: torch.device

    @property
    def patches(self) -> int:
        return sum(self.lengths)

    @cached_property
    def groups(self) -> tuple[ImageGroup, ...]:
        made: list[ImageGroup] = []
        for length, equal in groupby(self.lengths):
            made.append(ImageGroup(made[-1].end if made else 0, len(list(equal)), length))
        return tuple(made)

    @cached_property
    def starts(self) -> Tensor:
        """(images + 1,) int32, as kernels for sequences of many lengths take it."""
        ends = torch.tensor([0, *self.lengths]).cumsum(0)
        return ends.to(self.device, torch.int32)


class VisionAttention(Protocol):
    def __call__(self, q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        """(patches, heads, head_dim) each -> the same shape."""
        ...


class GroupedAttention:
    """torch's own kernels, a call for all images of one length."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        parts = [self._group(group, (q, k, v)) for group in packing.groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    def _group(group: ImageGroup, tensors: Sequence[Tensor]) -> Tensor:
        shape = (group.images, group.length)
        q, k, v = (t[group.start : group.end].view(*shape, *t.shape[1:]).transpose(1, 2) for t in tensors)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1)


class FlashVisionAttention:
    """The flash-attn package: images of all lengths in one call."""

    def __init__(self) -> None:
        self._kernel: Any = importlib.import_module("flash_attn").flash_attn_varlen_func

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        longest = max(packing.lengths)
        out: Tensor = self._kernel(
            q,
            k,
            v,
            cu_seqlens_q=packing.starts,
            cu_seqlens_k=packing.starts,
            max_seqlen_q=longest,
            max_seqlen_k=longest,
        )
        return out


def choose(name: str) -> VisionAttention:
    """By the name that `checkpoint.attention` gives."""
    return FlashVisionAttention() if name == "flash_attention_2" else GroupedAttention()
