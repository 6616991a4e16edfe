"""The reducers by name, and what each needs.

An image with too many rows to compare pairwise at a fair cost is ranked in parts of equal size, which are
merged by gain. Independent of plans: `choice` decides how many rows are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoder_svc.reduction import divprune, random_rows, scope, stride
from encoder_svc.reduction.ranking import Floats, Ranking
from fovea.contract.plan import Reducer
from fovea.contract.row_stream import GridIndices

# Ranking 2,048 rows takes about a second of a core and a matrix of 16 MiB; both grow quadratically.
MAX_ROWS_TOGETHER = 2048
# Scales the saliency of uniform patches: enough to rank them among themselves.
_UNIFORM_WEIGHT = np.float32(1e-6)
NEEDS_ROWS = frozenset({Reducer.SCOPE, Reducer.DIVPRUNE})
NEEDS_SALIENCY = frozenset({Reducer.SCOPE})
# The other reducers rate all rows equal, so their gains do not say where to stop.
MEASURES_GAIN = NEEDS_ROWS


@dataclass(frozen=True)
class RankerInput:
    """The encoded rows of an image in raster order: their pooled level, the attention they received, and
    which of them show uniform patches.
    """

    indices: GridIndices
    rows: Floats
    saliency: Floats | None = None
    uniform: npt.NDArray[np.bool_] | None = None

    @property
    def weights(self) -> Floats:
        """Saliency, but close to zero for uniform patches: adjacent cells show their content too, however
        much attention they received. ValueError without saliency.
        """
        if self.saliency is None:
            raise ValueError("SCOPE weighs rows by their saliency, and there is none")
        if self.uniform is None:
            return self.saliency
        return np.where(self.uniform, self.saliency * _UNIFORM_WEIGHT, self.saliency).astype(np.float32)


def by_content(reducer: Reducer, ranker_input: RankerInput) -> Ranking:
    """The ranking of a reducer that reads rows. ValueError if its input is missing."""
    rows = ranker_input.rows
    if reducer is Reducer.SCOPE:
        weights = ranker_input.weights
        order, gains = _rank_in_parts(len(rows), lambda part: scope.rank(rows[part], weights[part]))
    elif reducer is Reducer.DIVPRUNE:
        order, gains = _rank_in_parts(len(rows), lambda part: divprune.rank(rows[part]))
    else:
        raise ValueError(f"{reducer} does not look at rows")
    return Ranking(ranker_input.indices[order], gains)


def by_position(reducer: Reducer, indices: GridIndices, columns: int) -> Ranking:
    """The ranking of a reducer that needs no rows, for a grid of `columns` columns."""
    if reducer is Reducer.STRIDE:
        order = stride.rank(indices, columns)
    elif reducer is Reducer.RANDOM:
        order = random_rows.rank(len(indices))
    else:
        raise ValueError(f"{reducer} orders rows by what they show")
    return Ranking(indices[order], np.ones(len(indices), np.float32))


def _rank_in_parts(
    count: int, rank: Callable[[slice], tuple[GridIndices, Floats]]
) -> tuple[GridIndices, Floats]:
    """Rankings of the parts, merged by gain; the earlier part wins ties."""
    edges = np.linspace(0, count, -(-count // MAX_ROWS_TOGETHER) + 1).astype(int)
    orders, gains = [], []
    for start, end in pairwise(edges.tolist()):
        order, part_gains = rank(slice(start, end))
        orders.append(order + np.int32(start))
        gains.append(part_gains)
    all_gains = np.concatenate(gains)
    merged = np.argsort(-all_gains, kind="stable")
    return np.concatenate(orders)[merged].astype(np.int32), all_gains[merged]
