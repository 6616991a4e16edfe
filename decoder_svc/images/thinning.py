"""Selects the rows of consecutive images that differ most from the previous image.

EVS (efficient video sampling, as in vLLM): the score of a row is 1 - cos between its pooled level and that of
the row at the same grid index in the previous image. The first image keeps all rows. Every other image keeps
at least its highest-scoring row, so that no image disappears. Rows equal to the previous row are never kept
just to fill the share. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MILLION = 1_000_000
UNCHANGED = -np.inf
"""Score of a row that equals the row at the same index in the previous image."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """An image of a sequence: the pooled level of its rows (rows, width) and their indexes in the grid."""

    rows: Floats
    indexes: NDArray[np.int32]


def newest(frames: Sequence[VideoFrame], share: float) -> list[NDArray[np.int64]]:
    """For each image the positions of the rows to keep, ascending; at most `share` of all rows together.

    Counts in millionths, since shares arrive as float32. Ties go to the earlier image and index.
    """
    frame_scores = [_scores(frames, at) for at in range(len(frames))]
    sizes = [len(scores) for scores in frame_scores]
    keep = max(-(-sum(sizes) * round(share * MILLION) // MILLION), sizes[0] + len(sizes) - 1)
    scores = np.concatenate(frame_scores)
    changed = int(np.count_nonzero(scores > UNCHANGED))
    best = np.argsort(-scores, kind="stable")[: min(keep, changed)]
    ends = np.cumsum([0, *sizes])
    return [np.sort(best[(best >= start) & (best < end)]) - start for start, end in pairwise(ends)]


def _scores(frames: Sequence[VideoFrame], at: int) -> Floats:
    """The score of each row. Infinite for rows of the first image and the best row of every other image."""
    frame = frames[at]
    if at == 0:
        return np.full(len(frame.rows), np.inf, np.float32)
    previous = frames[at - 1]
    scores = np.full(len(frame.rows), 2.0, np.float32)  # no previous row at this index: largest difference
    _, here, there = np.intersect1d(frame.indexes, previous.indexes, assume_unique=True, return_indices=True)
    scores[here] = 1 - np.sum(_unit(frame.rows[here]) * _unit(previous.rows[there]), axis=1)
    scores[here[np.all(frame.rows[here] == previous.rows[there], axis=1)]] = UNCHANGED
    scores[int(np.argmax(scores))] = np.inf
    return scores


def _unit(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
