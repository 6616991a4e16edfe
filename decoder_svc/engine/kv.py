"""The paged KV cache: which blocks are free, and the tensors they index.

A block is `block_size` tokens of keys and values in every layer. The manager counts and hands out;
it does not know what is written into a block, nor who waits for one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor


class BlockManager:
    """Hands out block numbers. `can_*` asks, the verb does; doing what cannot be done raises."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self.total = blocks
        self.block_size = block_size
        self._free: deque[int] = deque(range(blocks))
        self._held: set[int] = set()

    @property
    def used(self) -> int:
        return len(self._held)

    def missing(self, table: list[int], tokens: int) -> int:
        """How many blocks `table` lacks to hold `tokens` tokens."""
        return max(0, -(-tokens // self.block_size) - len(table))

    def can_extend(self, table: list[int], tokens: int) -> bool:
        return self.missing(table, tokens) <= len(self._free)

    def extend(self, table: list[int], tokens: int) -> None:
        """Let `table` hold `tokens` tokens; all blocks are given, or none."""
        if not self.can_extend(table, tokens):
            raise RuntimeError(f"{tokens} tokens do not fit: {len(self._free)} blocks are free")
        fresh = [self._free.popleft() for _ in range(self.missing(table, tokens))]
        self._held.update(fresh)
        table.extend(fresh)

    def free(self, table: list[int]) -> None:
        """Take all blocks of `table` back and empty it."""
        if not self._held.issuperset(table):
            raise RuntimeError("a block was freed twice")
        self._held.difference_update(table)
        self._free.extend(table)
        table.clear()


@dataclass(frozen=True, eq=False)
class LayerPages:
    """Keys and values of one layer, each (blocks, block_size, kv heads, head_dim)."""

    keys: Tensor
    values: Tensor

    def write(self, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put (tokens, kv heads, head_dim) at flat token places `slots` (block * block_size +
        offset).
        """
        self.keys.flatten(0, 1).index_copy_(0, slots, keys)
        self.values.flatten(0, 1).index_copy_(0, slots, values)


def allocate_pages(
    blocks: int,
    block_size: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    devices: list[torch.device],
) -> list[LayerPages]:
    """The pages of every layer, on the device of that layer."""
    shape = (blocks, block_size, kv_heads, head_dim)
    return [
        LayerPages(
            torch.zeros(shape, dtype=dtype, device=device),
            torch.zeros(shape, dtype=dtype, device=device),
        )
        for device in devices
    ]
