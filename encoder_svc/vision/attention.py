"""Self-attention within each image of a packed batch.

Images are concatenated, with images of equal length adjacent. Each attends only to itself. The implementation
is chosen at the start. Independent of positions: queries and keys arrive rotated.
"""

from __future__ import annotations

import importlib
import importlib.util
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
    """`images` adjacent images of `length` patches each, starting at patch `start`."""

    start: int
    images: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.images * self.length


@dataclass(frozen=True)
class Packing:
    """Layout of the images in a batch. `lengths` are in patches, equal lengths adjacent."""

    lengths: tuple[int, ...]
    device: torch.device

    @property
    def patches(self) -> int:
        return sum(self.lengths)

    @cached_property
    def groups(self) -> tuple[ImageGroup, ...]:
        groups: list[ImageGroup] = []
        for length, members in groupby(self.lengths):
            groups.append(ImageGroup(groups[-1].end if groups else 0, len(list(members)), length))
        return tuple(groups)

    @cached_property
    def starts(self) -> Tensor:
        """(images + 1,) int32 cumulative lengths, as varlen kernels take them."""
        ends = torch.tensor([0, *self.lengths]).cumsum(0)
        return ends.to(self.device, torch.int32)


class VisionAttention(Protocol):
    def __call__(self, q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        """(patches, heads, head_dim) each -> the same shape."""
        ...


class GroupedAttention:
    """torch's own kernels, a call per group of images of equal length."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        parts = [self._group(group, (q, k, v)) for group in packing.groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    def _group(group: ImageGroup, tensors: Sequence[Tensor]) -> Tensor:
        shape = (group.images, group.length)
        q, k, v = (t[group.start : group.end].view(*shape, *t.shape[1:]).transpose(1, 2) for t in tensors)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1)


class FlashVisionAttention:
    """The flash-attn package: images of all lengths in a single call."""

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


def choose(device: torch.device, dtype: torch.dtype) -> VisionAttention:
    """Flash attention packs images without a loop. Without it, images of equal length share a call."""
    half = dtype in (torch.float16, torch.bfloat16)
    flash = device.type == "cuda" and half and importlib.util.find_spec("flash_attn") is not None
    return FlashVisionAttention() if flash else GroupedAttention()
