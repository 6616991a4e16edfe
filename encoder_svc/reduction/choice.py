"""How many rows a plan keeps, and which: the best of a ranking, in raster order.

Every selection from a ranking is a subset of any larger selection. Independent of pixels and rows.
"""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.errors import (
    AutoNeedsGains,
    KeepBesideAuto,
    KeepOutOfRange,
    ReducerNotHere,
    ToleranceTooHigh,
)
from encoder_svc.reduction.rankers import MEASURES_GAIN
from encoder_svc.reduction.ranking import Floats, Ranking
from fovea.contract.plan import ALL_ROWS, MAX_FLAT_TOLERANCE, EncodePlan, Reducer, RowSelection
from fovea.contract.row_stream import GridIndices

AUTO_GAIN = 0.9999
"""`auto` keeps the fewest rows that reach this share of the total gain. It is high, because the first row
covers what all rows share: at 0.95 a stand-in picture kept 8 to 35 % of its rows.
"""


def check(plan: EncodePlan) -> None:
    """Raises KeepBesideAuto, KeepOutOfRange, ReducerNotHere, AutoNeedsGains, ToleranceTooHigh."""
    selection, tolerance = plan.rows, plan.flat_tolerance
    if selection.auto and selection.keep != ALL_ROWS.keep:
        raise KeepBesideAuto(selection.keep)
    if not 0 < selection.keep <= 1:
        raise KeepOutOfRange(selection.keep)
    if selection.reducer is Reducer.RESIZE:
        raise ReducerNotHere(selection.reducer.name)
    if selection.auto and selection.reducer not in MEASURES_GAIN:
        raise AutoNeedsGains(selection.reducer.name)
    if tolerance is not None and not 0 <= tolerance <= MAX_FLAT_TOLERANCE:
        raise ToleranceTooHigh(tolerance, MAX_FLAT_TOLERANCE)


def best(ranking: Ranking, selection: RowSelection) -> GridIndices:
    """The kept indices, ascending."""
    count = selection.count(len(ranking.order))
    if selection.auto:
        count = max(count, auto_count(ranking.gains))
    return np.sort(ranking.order[:count])


def auto_count(gains: Floats) -> int:
    """The fewest rows that reach AUTO_GAIN of the total gain; 0 if the total is 0."""
    sums = np.cumsum(gains, dtype=np.float64)
    return int(np.searchsorted(sums, AUTO_GAIN * sums[-1])) + 1 if sums[-1] > 0 else 0
