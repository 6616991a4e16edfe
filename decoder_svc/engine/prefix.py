"""Prefix reuse by content: what a request shares with those before it is not computed again.

A block is found by what it contains and what stands before it, so an image matches by the key of its
content and the range of its rows, never by its placeholders. The last token is always computed: its
logits are wanted. Knows blocks and sequences; does not decide who runs.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from decoder_svc.core import ImageSpan, Prompt
from decoder_svc.engine.kv import BlockManager, Kept, Key
from decoder_svc.engine.sequence import Sequence


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


class Prefixes:
    def __init__(self, blocks: BlockManager) -> None:
        self._blocks = blocks
        self._size = blocks.block_size

    def probe(self, prompt: Prompt) -> int:
        """How many leading tokens are in the cache now. A hint: safe to ask from any thread."""
        before: Hashable = prompt.salt
        for start in range(0, len(prompt.token_ids) - self._size, self._size):
            place = slice(start, start + self._size)
            found = content(prompt.token_ids, prompt.positions, prompt.images, place)
            kept = None if found is None else self._blocks.find((before, found))
            if kept is None:
                return start
            before = kept.serial
        return max(0, (len(prompt.token_ids) - 1) // self._size * self._size)

    def adopt(self, sequence: Sequence) -> None:
        """Share the blocks that others have computed, from where the sequence stands on."""
        while (kept := self._next(sequence)) is not None:
            self._blocks.share(sequence.table, len(sequence.serials), kept)
            sequence.serials.append(kept.serial)
            sequence.computed += self._size
            if sequence.computed > sequence.reached:
                sequence.cached += self._size
                sequence.reached = sequence.computed

    def keep(self, sequence: Sequence) -> None:
        """Let others share the blocks that the sequence has filled with rows that are proven."""
        while len(sequence.serials) < sequence.proven // self._size:
            key = self.key(sequence)
            if key is None:
                return
            block = sequence.table[len(sequence.serials)]
            sequence.serials.append(self._blocks.keep(block, key))

    def key(self, sequence: Sequence) -> Key | None:
        """Under what the next block that is not kept yet would be found; None where it never will."""
        start = len(sequence.serials) * self._size
        place = slice(start, start + self._size)
        images = sequence.request.prompt.images
        found = content(sequence.token_ids, sequence.positions, images, place)
        return None if found is None else (sequence.before, found)

    def _next(self, sequence: Sequence) -> Kept | None:
        done = len(sequence.serials) * self._size
        if sequence.computed != done or done + self._size >= sequence.length:
            return None
        key = self.key(sequence)
        return None if key is None else self._blocks.find(key)
