"""Which rows of a sequence of images are new: those that differ most from the image before.

EVS (efficient video sampling, as vLLM has it for videos): a row's worth is 1 - cos of its pooled level and
that of the same place one image earlier. The first image is kept whole, and of every other at least its
newest row, so that none disappears. A row that equals the one before it is not kept for the share's sake.
Pure numpy; knows no request and no encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MILLION = 1_000_000
UNCHANGED = -np.inf
"""The worth of a row that equals the one before it."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One image of a sequence: the pooled level of its rows (rows, width) and their places in the grid."""

    rows: Floats
    places: NDArray[np.int32]


def newest(frames: Sequence[VideoFrame], share: float) -> list[NDArray[np.int64]]:
    """For each image the indexes of the rows to keep, ascending; at most `share` of all of them together.

    Counted in millionths, since shares come as float32. Ties go to the earlier image and place.
    """
    worth = [_worth(frames, at) for at in range(len(frames))]
    total = sum(len(one) for one in worth)
    keep = max(-(-total * round(share * MILLION) // MILLION), len(worth[0]) + len(worth) - 1)
    together = np.concatenate(worth)
    changed = int(np.count_nonzero(together > UNCHANGED))
    best = np.argsort(-together, kind="stable")[: min(keep, changed)]
    ends = np.cumsum([0, *(len(one) for one in worth)])
    return [np.sort(best[(best >= start) & (best < end)]) - start for start, end in pairwise(ends)]


def _worth(frames: Sequence[VideoFrame], at: int) -> Floats:
    """Of each row; infinite for what is kept in any case: the first image, the newest row of each other."""
    frame = frames[at]
    if at == 0:
        return np.full(len(frame.rows), np.inf, np.float32)
    before = frames[at - 1]
    worth = np.full(len(frame.rows), 2.0, np.float32)  # nothing stood there: as different as can be
    _, here, there = np.intersect1d(frame.places, before.places, assume_unique=True, return_indices=True)
    worth[here] = 1 - np.sum(_unit(frame.rows[here]) * _unit(before.rows[there]), axis=1)
    worth[here[np.all(frame.rows[here] == before.rows[there], axis=1)]] = UNCHANGED
    worth[int(np.argmax(worth))] = np.inf
    return worth


def _unit(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
