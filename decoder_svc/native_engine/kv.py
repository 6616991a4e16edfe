"""The paged KV cache: which blocks are free, and what the others hold.

A block holds `block_size` tokens of keys and values in every layer. A block can be kept under its content and
what stands before it, so requests with the same beginning share it. A kept block without holders is evicted
when its space is needed, the longest unused first. Independent of requests.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass

Key = tuple[Hashable, Hashable]
"""What stands before a block (the serial of a kept block, or the salt of the prompt), and its content."""


@dataclass(frozen=True, eq=False)
class CachedBlock:
    """A block of known content. `serial` is never reused: keys that follow an evicted block match nothing."""

    block: int
    serial: int


class BlockManager:
    """Hands out block numbers. A verb raises RuntimeError if its `can_*` is false."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self.total = blocks
        self.block_size = block_size
        self._free: deque[int] = deque(range(blocks))
        self._holders = [0] * blocks
        self._kept: dict[Key, CachedBlock] = {}
        self._keys_of: dict[int, list[Key]] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept, without holders, longest unused first
        self._serials = 0

    @property
    def spare(self) -> int:
        """The number of an extra block in the pages. No request gets it; padding points to it."""
        return self.total

    @property
    def used(self) -> int:
        """Blocks that requests hold."""
        return self.total - len(self._free) - len(self._idle)

    def missing(self, table: list[int], tokens: int) -> int:
        """How many blocks `table` lacks to hold `tokens` tokens."""
        return max(0, -(-tokens // self.block_size) - len(table))

    def can_extend(self, table: list[int], tokens: int) -> bool:
        return self.missing(table, tokens) <= self.total - self.used

    def extend(self, table: list[int], tokens: int) -> None:
        """Let `table` hold `tokens` tokens. Adds all missing blocks or none."""
        if not self.can_extend(table, tokens):
            free = self.total - self.used
            raise RuntimeError(f"{tokens} tokens do not fit: {free} blocks are free")
        for _ in range(self.missing(table, tokens)):
            block = self._free.popleft() if self._free else self._evict()
            self._holders[block] = 1
            table.append(block)

    def free(self, table: list[int]) -> None:
        """Take all blocks of `table` back and empty it. The last blocks are evicted first."""
        while table:
            self._release(table.pop())

    def discard(self, table: list[int]) -> None:
        """Like `free`, but forgets blocks without other holders, because their content is not trusted."""
        while table:
            block = table.pop()
            self._release(block)
            if not self._holders[block] and block in self._idle:
                del self._idle[block]
                self._forget(block)
                self._free.append(block)

    def find(self, key: Key) -> CachedBlock | None:
        """The block under `key`, compared by equality. Safe to call from any thread."""
        return self._kept.get(key)

    def share(self, table: list[int], index: int, kept: CachedBlock) -> None:
        """Let `table` hold a kept block at `index`: appended, or in exchange for the block there."""
        self._holders[kept.block] += 1
        self._idle.pop(kept.block, None)
        if index == len(table):
            table.append(kept.block)
        else:
            self._release(table[index])
            table[index] = kept.block

    def keep(self, block: int, key: Key) -> int:
        """Remember the content of a held block or of its beginning. Returns the serial for the next key."""
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
