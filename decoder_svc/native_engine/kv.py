"""The paged KV cache: which blocks are free, and what the others hold.

A block is `block_size` tokens of keys and values in every layer. A full block can be kept under its
content and what stands before it; whoever has the same beginning shares it. It is kept until nobody
holds it and its place is needed, the longest unused first. The manager does not know what content
is, nor who waits for a block.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass

Key = tuple[Hashable, Hashable]
"""What stands before a block (the serial of a kept one, or the salt of the prompt), and its content."""


@dataclass(frozen=True, eq=False)
class CachedBlock:
    """A block whose content is known. `serial` is never given twice: whoever follows a block that
    was evicted is not found any more.
    """

    block: int
    serial: int


class BlockManager:
    """Hands out block numbers. `can_*` asks, the verb does; doing what cannot be done raises."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self.total = blocks
        self.block_size = block_size
        self._free: deque[int] = deque(range(blocks))
        self._holders = [0] * blocks
        self._kept: dict[Key, CachedBlock] = {}
        self._keys_of: dict[int, list[Key]] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept, held by nobody; longest first
        self._serials = 0

    @property
    def spare(self) -> int:
        """The number of one block more that the pages have: never given away, for padding to point to."""
        return self.total

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return self.total - len(self._free) - len(self._idle)

    def missing(self, table: list[int], tokens: int) -> int:
        """How many blocks `table` lacks to hold `tokens` tokens."""
        return max(0, -(-tokens // self.block_size) - len(table))

    def can_extend(self, table: list[int], tokens: int) -> bool:
        return self.missing(table, tokens) <= len(self._free) + len(self._idle)

    def extend(self, table: list[int], tokens: int) -> None:
        """Let `table` hold `tokens` tokens; all blocks are given, or none."""
        if not self.can_extend(table, tokens):
            free = len(self._free) + len(self._idle)
            raise RuntimeError(f"{tokens} tokens do not fit: {free} blocks are free")
        for _ in range(self.missing(table, tokens)):
            block = self._free.popleft() if self._free else self._evict()
            self._holders[block] = 1
            table.append(block)

    def free(self, table: list[int]) -> None:
        """Take all blocks of `table` back and empty it; the last ones will be evicted first."""
        while table:
            self._release(table.pop())

    def discard(self, table: list[int]) -> None:
        """As `free`, and what nobody else holds is kept no longer: its content is not to be trusted."""
        while table:
            block = table.pop()
            self._release(block)
            if not self._holders[block] and block in self._idle:
                del self._idle[block]
                self._forget(block)
                self._free.append(block)

    def find(self, key: Key) -> CachedBlock | None:
        """A hash finds it, equality confirms it. Safe to ask from any thread."""
        return self._kept.get(key)

    def share(self, table: list[int], place: int, kept: CachedBlock) -> None:
        """Let `table` hold a kept block at `place`: its end, or instead of the one that is there."""
        self._holders[kept.block] += 1
        self._idle.pop(kept.block, None)
        if place == len(table):
            table.append(kept.block)
        else:
            self._release(table[place])
            table[place] = kept.block

    def keep(self, block: int, key: Key) -> int:
        """Remember what a held block, or its beginning, contains. Returns the serial for what follows."""
        if key not in self._kept:
            self._serials += 1
            self._kept[key] = CachedBlock(block, self._serials)
            self._keys_of.setdefault(block, []).append(key)
        return self._kept[key].serial

    def _release(self, block: int) -> None:
        if not self._holders[block]:
            raise RuntimeError("a block was freed twice")
        self._holders[block] -= 1
        if self._holders[block]:
            return
        if block in self._keys_of:
            self._idle[block] = None
        else:
            self._free.append(block)

    def _evict(self) -> int:
        block, _ = self._idle.popitem(last=False)
        self._forget(block)
        return block

    def _forget(self, block: int) -> None:
        for key in self._keys_of.pop(block):
            del self._kept[key]
