"""DivPrune: the row that is least like any row kept already, by cosine (CVPR 2025).

Begins with the row that is farthest from its nearest; of equals the first in raster order wins. Needs no
attention, so it serves towers that tell none.
"""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import Floats, GridIndices
from encoder_svc.reduction.similarity import cosines


def rank(rows: Floats) -> tuple[GridIndices, Floats]:
    """The numbers of all rows, best first, and how far each was from those before it; gains never rise."""
    distances = np.maximum(1 - cosines(rows), 0)
    order, gains = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.float32)
    nearest = _first(distances)
    for step in range(len(rows)):
        order[step] = chosen = int(nearest.argmax())
        gains[step] = nearest[chosen]
        nearest = distances[chosen].copy() if step == 0 else np.minimum(nearest, distances[chosen])
        nearest[order[: step + 1]] = -1
    # The first has none before it: it counts as much as the second, so that gains never rise.
    gains[0] = gains[min(1, len(rows) - 1)]
    return order, gains


def _first(distances: Floats) -> Floats:
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    return np.asarray(others.min(axis=1), np.float32)
