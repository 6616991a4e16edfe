"""The ways to put rows in an order, by name, and what each needs to know.

An image of more rows than can be compared with each other at a fair price is ranked in parts of equal size,
and the parts are merged by gain. Knows no plan: how many rows are kept is `choice`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoder_svc.reduction import divprune, random_rows, scope, stride
from encoder_svc.reduction.ranking import Floats, GridIndices, Ranking
from fovea.contract.plan import Reducer

# The order of 2,048 rows takes about a second of one core and a matrix of 16 MiB; both grow with the square.
MAX_ROWS_TOGETHER = 2048
# Of the saliency of squares of one colour: enough to put them in an order among themselves.
_UNIFORM_WEIGHT = np.float32(1e-6)
NEEDS_ROWS = frozenset({Reducer.SCOPE, Reducer.DIVPRUNE})
NEEDS_SALIENCY = frozenset({Reducer.SCOPE})
# The others take every row for as good as any other, so none of their gains says where to stop.
MEASURES_GAIN = NEEDS_ROWS


@dataclass(frozen=True)
class RankerInput:
    """The encoded rows of an image, in raster order: their pooled level, the attention that they got, and
    which of them show one colour alone.
    """

    places: GridIndices
    rows: Floats
    saliency: Floats | None = None
    uniform: npt.NDArray[np.bool_] | None = None

    @property
    def weights(self) -> Floats:
        """Saliency, but next to none for squares of one colour: what they show stands beside them too,
        however much the tower looked at them. ValueError where there is no saliency.
        """
        if self.saliency is None:
            raise ValueError("SCOPE weighs rows by their saliency, and there is none")
        if self.uniform is None:
            return self.saliency
        return np.where(self.uniform, self.saliency * _UNIFORM_WEIGHT, self.saliency).astype(np.float32)


def by_content(reducer: Reducer, ranker_input: RankerInput) -> Ranking:
    """The order of a reducer that looks at rows. ValueError where it looks at what is not there."""
    if reducer is Reducer.SCOPE:
        weights = ranker_input.weights
        order, gains = _rank_in_parts(
            len(ranker_input.rows), lambda part: scope.rank(ranker_input.rows[part], weights[part])
        )
    elif reducer is Reducer.DIVPRUNE:
        order, gains = _rank_in_parts(
            len(ranker_input.rows), lambda part: divprune.rank(ranker_input.rows[part])
        )
    else:
        raise ValueError(f"{reducer} does not look at rows")
    return Ranking(ranker_input.places[order], gains)


def by_position(reducer: Reducer, places: GridIndices, columns: int) -> Ranking:
    """The order of a reducer that needs no rows, of a grid with so many columns."""
    if reducer is Reducer.STRIDE:
        order = stride.rank(places, columns)
    elif reducer is Reducer.RANDOM:
        order = random_rows.rank(len(places))
    else:
        raise ValueError(f"{reducer} orders rows by what they show")
    return Ranking(places[order], np.ones(len(places), np.float32))


def _rank_in_parts(
    count: int, rank: Callable[[slice], tuple[GridIndices, Floats]]
) -> tuple[GridIndices, Floats]:
    """The orders of the parts as one: by gain, and of equal gains the earlier part first."""
    edges = np.linspace(0, count, -(-count // MAX_ROWS_TOGETHER) + 1).astype(int)
    orders, gains = [], []
    for start, end in pairwise(edges.tolist()):
        order, gained = rank(slice(start, end))
        orders.append(order + np.int32(start))
        gains.append(gained)
    every = np.concatenate(gains)
    merged = np.argsort(-every, kind="stable")
    return np.concatenate(orders)[merged].astype(np.int32), every[merged]
