"""M-RoPE positions of a prompt, from the spans and grids of its images.

A text token advances all three axes by 1. An image that starts at position p puts its visual token (t, y, x)
of the merged grid at (p + t, p + y, p + x), and the text after it continues at p + max(height, width) of the
merged grid. This is `get_rope_index` of transformers' Qwen3-VL, in numpy and without a loop per token.
Dropped rows leave gaps: the other rows keep their positions. Independent of token ids and text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ImageSpan

Grid = tuple[int, int, int]


def rows_of(grid_thw: Grid, merge: int) -> int:
    """Visual tokens of an image with all rows: patches / merge^2."""
    return grid_thw[0] * grid_thw[1] * grid_thw[2] // merge**2


def mrope_positions(length: int, images: Sequence[ImageSpan], merge: int) -> tuple[NDArray[np.int32], int]:
    """Positions (3, L) of a prompt of `length` tokens that shows these images, in order.

    Also returns the position of the first generated token: 1 above the maximum of full grids and text.
    """
    pieces: list[NDArray[np.int32]] = []
    index = position = highest = 0
    for image in images:
        pieces.append(_text(position, image.start - index))
        position += image.start - index
        full = _grid(position, image.grid_thw, merge)
        pieces.append(full if image.kept is None else full[:, image.kept])
        highest = max(highest, int(full.max()) + 1)
        position += max(image.grid_thw[1:]) // merge
        index = image.end
    pieces.append(_text(position, length - index))
    return np.concatenate(pieces, axis=1), max(highest, position + length - index)


def _text(start: int, count: int) -> NDArray[np.int32]:
    return np.broadcast_to(np.arange(start, start + count, dtype=np.int32), (3, count))


def _grid(start: int, grid_thw: Grid, merge: int) -> NDArray[np.int32]:
    t, h, w = grid_thw
    indices = np.indices((t, h // merge, w // merge), dtype=np.int32).reshape(3, -1)
    return indices + np.int32(start)
