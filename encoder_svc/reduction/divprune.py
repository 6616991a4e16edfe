"""DivPrune: picks the row least similar to any picked row, by cosine (CVPR 2025).

Starts with the row farthest from its nearest neighbour; the first in raster order wins ties. Needs no
attention, so it suits towers that expose none.
"""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import Floats
from encoder_svc.reduction.similarity import cosines
from fovea.contract.row_stream import GridIndices


def rank(rows: Floats) -> tuple[GridIndices, Floats]:
    """Numbers of all rows, best first, and the distance of each from the rows before it; gains never rise."""
    distances = np.maximum(1 - cosines(rows), 0)
    order, gains = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.float32)
    nearest = _nearest_distances(distances)
    for step in range(len(rows)):
        order[step] = best = int(nearest.argmax())
        gains[step] = nearest[best]
        nearest = distances[best].copy() if step == 0 else np.minimum(nearest, distances[best])
        nearest[order[: step + 1]] = -1
    # The first row has no predecessor. It gets the gain of the second, so that gains never rise.
    gains[0] = gains[min(1, len(rows) - 1)]
    return order, gains


def _nearest_distances(distances: Floats) -> Floats:
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    return np.asarray(others.min(axis=1), np.float32)
