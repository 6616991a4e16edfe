"""The pages of the KV cache: tensors indexed by block number. Independent of who holds a block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LayerPages:
    """Keys and values of a layer side by side: (blocks, block_size, 2, kv heads, head_dim)."""

    kv: Tensor

    @property
    def keys(self) -> Tensor:
        return self.kv[:, :, 0]

    @property
    def values(self) -> Tensor:
        return self.kv[:, :, 1]

    @property
    def token_bytes(self) -> int:
        return self.kv.stride(1) * self.kv.itemsize

    def write(self, slots: Tensor, kv: Tensor) -> None:
        """Write (tokens, 2, kv heads, head_dim) to flat `slots` (block * block_size + offset)."""
        self.kv.flatten(0, 1).index_copy_(0, slots, kv)


def allocate_pages(
    blocks: int,
    block_size: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    devices: list[torch.device],
) -> list[LayerPages]:
    """The pages of every layer, on the device of that layer."""
    shape = (blocks, block_size, 2, kv_heads, head_dim)
    return [LayerPages(torch.zeros(shape, dtype=dtype, device=device)) for device in devices]
