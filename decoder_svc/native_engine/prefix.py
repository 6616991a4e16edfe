"""Prefix reuse by content: a request does not compute what it shares with earlier requests.

A block is identified by its content and the block before it, so an image matches by its key and its range of
rows, never by its placeholders. Full blocks are shared. The block in which an image ends is copied up to the
image's end, so that another question about the image needs none of its rows. The last token is always
computed, because its logits are needed. The scheduler decides which requests run.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np

from decoder_svc.engine.protocol import Prompt
from decoder_svc.native_engine.kv import BlockManager, CachedBlock, Key
from decoder_svc.native_engine.request_state import RequestState


@dataclass(frozen=True)
class BlockCopy:
    """Copy the first `tokens` tokens of `source` to `target`, a block of `state`, before the next step."""

    state: RequestState
    source: int
    target: int
    tokens: int


class PrefixCache:
    """Finds and shares nothing unless `enabled`."""

    def __init__(self, blocks: BlockManager, enabled: bool = True) -> None:
        self._blocks = blocks
        self._size = blocks.block_size
        self._enabled = enabled

    def probe(self, prompt: Prompt) -> int:
        """How many leading tokens are cached now. A hint; safe to call from any thread."""
        before: Hashable = prompt.salt
        for start in range(0, len(prompt.token_ids), self._size):
            cached = self._find(_key(prompt, prompt, before, slice(start, start + self._size)))
            if cached is None or start + self._size >= len(prompt.token_ids):
                return max((end for end, _ in self._image_ends(prompt, before, start)), default=start)
            before = cached.serial
        return 0

    def adopt(self, state: RequestState) -> BlockCopy | None:
        """Share the cached blocks that follow what the state has computed. If the next block is cached up to
        the end of an image, return the copy of that part; the state must already hold a block for it.
        """
        while (cached := self._next(state)) is not None:
            self._blocks.share(state.table, len(state.serials), cached)
            state.serials.append(cached.serial)
            state.skip(self._size)
        number, start = len(state.serials), len(state.serials) * self._size
        if state.computed != start or number == len(state.table):
            return None
        ends = dict(self._image_ends(state.request.prompt, state.before, start))
        if not ends:
            return None
        end = max(ends)
        state.skip(end - start)
        return BlockCopy(state, ends[end].block, state.table[number], end - start)

    def keep(self, state: RequestState) -> None:
        """Let others share the blocks that the state has filled from complete row streams."""
        proven = state.proven if self._enabled else 0
        while True:
            number = len(state.serials)
            span = slice(number * self._size, (number + 1) * self._size)
            for image in state.request.prompt.images:
                if max(span.start, state.shared) < image.end < min(span.stop, proven + 1):
                    key = _key(state, state.request.prompt, state.before, slice(span.start, image.end))
                    state.shared = image.end
                    if key is not None:
                        self._blocks.keep(state.table[number], key)
            key = self.next_key(state) if span.stop <= proven else None
            if key is None:
                return
            state.serials.append(self._blocks.keep(state.table[number], key))

    def next_key(self, state: RequestState) -> Key | None:
        """The key of the state's next block that is not shared yet. None if it can never be shared."""
        start = len(state.serials) * self._size
        span = slice(start, start + self._size)
        return _key(state, state.request.prompt, state.before, span) if self._enabled else None

    def _next(self, state: RequestState) -> CachedBlock | None:
        done = len(state.serials) * self._size
        if state.computed != done or done + self._size >= state.length:
            return None
        return self._find(self.next_key(state))

    def _find(self, key: Key | None) -> CachedBlock | None:
        return self._blocks.find(key) if self._enabled and key is not None else None

    def _image_ends(self, prompt: Prompt, before: Hashable, start: int) -> Iterator[tuple[int, CachedBlock]]:
        """Ends of images inside the block at `start` up to which the block is cached."""
        for image in prompt.images:
            if start < image.end < min(start + self._size, len(prompt.token_ids)):
                cached = self._find(_key(prompt, prompt, before, slice(start, image.end)))
                if cached is not None:
                    yield image.end, cached


def _key(tokens: Prompt | RequestState, prompt: Prompt, before: Hashable, span: slice) -> Key | None:
    """All that decides the keys and values of the tokens in `span`: what stands before them, their ids and
    positions, and for visual rows the image's key and the row indices. None if an image has no key.
    """
    content = [tokens.token_ids[span].tobytes(), tokens.positions[:, span].tobytes()]
    for image in prompt.images:
        if image.end <= span.start:
            continue
        if image.start >= span.stop:
            break
        first, last = max(span.start, image.start) - image.start, min(span.stop, image.end) - image.start
        if first < last:
            if not image.key:
                return None
            kept = np.arange(first, last, dtype=np.int32) if image.kept is None else image.kept[first:last]
            content += [image.key, kept.tobytes()]
    return before, tuple(content)
