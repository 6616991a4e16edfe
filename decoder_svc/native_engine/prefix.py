"""Prefix reuse by content: what a request shares with those before it is not computed again.

A block is found by what it contains and what stands before it, so an image matches by the key of its
content and the range of its rows, never by its placeholders. Full blocks are shared; the block in
which an image ends is copied up to there, so that another question about it needs none of its rows.
The last token is always computed: its logits are wanted. Knows blocks and states; does not decide
who runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ImageSpan, Prompt
from decoder_svc.native_engine.kv import BlockManager, CachedBlock, Key
from decoder_svc.native_engine.request_state import RequestState


def content(
    token_ids: NDArray[np.int32],
    positions: NDArray[np.int32],
    images: tuple[ImageSpan, ...],
    place: slice,
) -> Hashable | None:
    """What decides the keys and values of these tokens, beside those before them: their ids, their
    positions, and for visual rows the image's key and which rows. None where an image has no key.
    """
    parts = [token_ids[place].tobytes(), positions[:, place].tobytes()]
    for image in images:
        first, last = max(place.start, image.start) - image.start, min(place.stop, image.end) - image.start
        if first < last:
            if not image.key:
                return None
            kept = np.arange(first, last, dtype=np.int32) if image.kept is None else image.kept[first:last]
            parts += [image.key, kept.tobytes()]
    return tuple(parts)


@dataclass(frozen=True)
class Copy:
    """The first `tokens` tokens of one block, to be put into another, of `state`, before the next step."""

    state: RequestState
    source: int
    target: int
    tokens: int


class PrefixCache:
    def __init__(self, blocks: BlockManager) -> None:
        self._blocks = blocks
        self._size = blocks.block_size

    def probe(self, prompt: Prompt) -> int:
        """How many leading tokens are in the cache now. A hint: safe to ask from any thread."""
        before: Hashable = prompt.salt
        for start in range(0, len(prompt.token_ids), self._size):
            key = _key(prompt, before, slice(start, start + self._size))
            kept = None if key is None else self._blocks.find(key)
            if kept is None or start + self._size >= len(prompt.token_ids):
                ends = (end for end, _ in self._ends(prompt, before, start))
                return max(ends, default=start)
            before = kept.serial
        return 0

    def adopt(self, state: RequestState) -> None:
        """Share the blocks that others have computed, from where the state stands on."""
        while (kept := self._next(state)) is not None:
            self._blocks.share(state.table, len(state.serials), kept)
            state.serials.append(kept.serial)
            state.skip(self._size)

    def adopt_end(self, state: RequestState) -> Copy | None:
        """Take over an image that ends inside a block, up to its end: the question behind it is another
        one. The state must hold the block already.
        """
        number, start = len(state.serials), len(state.serials) * self._size
        if state.computed != start:
            return None
        found = dict(self._ends(state.request.prompt, state.before, start))
        if not found:
            return None
        end = max(found)
        state.skip(end - start)
        return Copy(state, found[end].block, state.table[number], end - start)

    def keep(self, state: RequestState) -> None:
        """Let others share what the state has filled with rows that are proven."""
        proven = state.proven
        while True:
            number = len(state.serials)
            place = slice(number * self._size, (number + 1) * self._size)
            for image in state.request.prompt.images:
                if max(place.start, state.shared) < image.end < min(place.stop, proven + 1):
                    key = _key(state.request.prompt, state.before, slice(place.start, image.end))
                    state.shared = image.end
                    if key is not None:
                        self._blocks.keep(state.table[number], key)
            key = self.key(state) if place.stop <= proven else None
            if key is None:
                return
            state.serials.append(self._blocks.keep(state.table[number], key))

    def key(self, state: RequestState) -> Key | None:
        """Under what the next block that is not kept yet would be found; None where it never will."""
        start = len(state.serials) * self._size
        place = slice(start, start + self._size)
        images = state.request.prompt.images
        found = content(state.token_ids, state.positions, images, place)
        return None if found is None else (state.before, found)

    def _next(self, state: RequestState) -> CachedBlock | None:
        done = len(state.serials) * self._size
        if state.computed != done or done + self._size >= state.length:
            return None
        key = self.key(state)
        return None if key is None else self._blocks.find(key)

    def _ends(self, prompt: Prompt, before: Hashable, start: int) -> Iterator[tuple[int, CachedBlock]]:
        """Where images end inside the block at `start`, if it is kept up to there."""
        for image in prompt.images:
            if start < image.end < min(start + self._size, len(prompt.token_ids)):
                key = _key(prompt, before, slice(start, image.end))
                kept = None if key is None else self._blocks.find(key)
                if kept is not None:
                    yield image.end, kept


def _key(prompt: Prompt, before: Hashable, place: slice) -> Key | None:
    found = content(prompt.token_ids, prompt.positions, prompt.images, place)
    return None if found is None else (before, found)
