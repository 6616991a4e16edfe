"""How many rows a plan keeps, and which: the best of an order, in raster order.

Every choice out of one order is a part of any larger one. Knows no pixels and no rows.
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
from encoder_svc.reduction.ranking import Floats, GridIndices, Ranking
from fovea.contract.plan import ALL_ROWS, MAX_FLAT_TOLERANCE, EncodePlan, Reducer, RowSelection

AUTO_GAIN = 0.9999
"""`auto` keeps the fewest rows that bring this share of what all rows together bring. High, because the first
row brings what all rows have in common: at 0.95 a stand-in picture kept 8 to 35 % of its rows.
"""


def check(plan: EncodePlan) -> None:
    """Raises KeepBesideAuto, KeepOutOfRange, ReducerNotHere, AutoNeedsGains, ToleranceTooHigh."""
    choice, tolerance = plan.rows, plan.flat_tolerance
    if choice.auto and choice.keep != ALL_ROWS.keep:
        raise KeepBesideAuto(choice.keep)
    if not 0 < choice.keep <= 1:
        raise KeepOutOfRange(choice.keep)
    if choice.reducer is Reducer.RESIZE:
        raise ReducerNotHere(choice.reducer.name)
    if choice.auto and choice.reducer not in MEASURES_GAIN:
        raise AutoNeedsGains(choice.reducer.name)
    if tolerance is not None and not 0 <= tolerance <= MAX_FLAT_TOLERANCE:
        raise ToleranceTooHigh(tolerance, MAX_FLAT_TOLERANCE)


def best(ranking: Ranking, choice: RowSelection) -> GridIndices:
    """The places that are kept, ascending."""
    count = choice.count(len(ranking.order))
    if choice.auto:
        count = max(count, auto_count(ranking.gains))
    return np.sort(ranking.order[:count])


def auto_count(gains: Floats) -> int:
    """The fewest rows that bring AUTO_GAIN of all gains; none where nothing brings anything."""
    sums = np.cumsum(gains, dtype=np.float64)
    return int(np.searchsorted(sums, AUTO_GAIN * sums[-1])) + 1 if sums[-1] > 0 else 0
