"""SCOPE: picks the row that adds the most coverage, weighted by the attention it received in the tower
(NeurIPS 2025).

With s_i the saliency of row i and S the cosines clipped at 0, a picked row covers every row j up to S_ij.
Each step picks the row with the greatest s_i * sum_j max(0, S_ij - covered_j); the first in raster order wins
ties.

A gain never grows as rows are picked, so an old gain is an upper bound, and only rows with the highest bounds
are recomputed. The order equals that of the plain greedy algorithm to the last bit: the sum of a row always
adds the same values in the same tree, and float subtraction, maximum and addition are monotonic under
rounding.
"""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import Floats
from encoder_svc.reduction.similarity import cosines
from fovea.contract.row_stream import GridIndices

# Rows recomputed at once: a larger number wastes more work, a smaller number costs more numpy calls.
_REFRESHED_TOGETHER = 8


def rank(rows: Floats, saliency: Floats) -> tuple[GridIndices, Floats]:
    """Numbers of all rows, best first, and the gain of each when it was picked; gains never rise."""
    similar = np.maximum(cosines(rows), 0)
    return lazy_greedy(similar, saliency.astype(np.float32))


def gain(similar: Floats, saliency: Floats, covered: Floats) -> Floats:
    """What each of these rows would add; `similar` is (rows, n)."""
    added = similar - covered
    np.maximum(added, 0, out=added)
    return np.asarray(saliency * added.sum(axis=1), np.float32)


def lazy_greedy(similar: Floats, saliency: Floats) -> tuple[GridIndices, Floats]:
    count = len(similar)
    covered = np.zeros(count, np.float32)
    bounds = gain(similar, saliency, covered)
    order, gains = np.empty(count, np.int32), np.zeros(count, np.float32)
    for step in range(count):
        best = _best(bounds, similar, saliency, covered)
        if bounds[best] <= 0:
            # Nothing adds coverage any more: the rest follows in raster order.
            order[step:] = np.flatnonzero(bounds >= 0)
            break
        order[step], gains[step] = best, bounds[best]
        bounds[best] = -1
        np.maximum(covered, similar[best], out=covered)
    return order, gains


def _best(bounds: Floats, similar: Floats, saliency: Floats, covered: Floats) -> int:
    """The row with the greatest gain. The `bounds` of all recomputed rows are exact afterwards."""
    fresh = np.zeros(len(bounds), bool)
    while not fresh[best := int(bounds.argmax())] and bounds[best] > 0:
        refreshed = _top(bounds, best)
        bounds[refreshed] = gain(similar[refreshed], saliency[refreshed], covered)
        fresh[refreshed] = True
    return best


def _top(bounds: Floats, best: int) -> GridIndices:
    """Rows with the greatest bounds, including `best`. Picked rows have negative bounds."""
    if len(bounds) <= _REFRESHED_TOGETHER:
        return np.flatnonzero(bounds >= 0).astype(np.int32)
    top = np.argpartition(bounds, -_REFRESHED_TOGETHER)[-_REFRESHED_TOGETHER:]
    top = top[(bounds[top] >= 0) & (top != best)]
    return np.append(top, best).astype(np.int32)
