"""What a request would cost under other budgets: those that a caller may want to send instead.

Only names budgets; planning is the planner's, and nothing is asked of an encoder for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from decoder_svc.budget.budget import Budget, ReductionMode
from fovea.contract.plan import ALL_ROWS
from fovea.planning.detail import Detail


def others(budget: Budget) -> Iterator[tuple[str, Budget]]:
    """Each with its name; the request's own is among them where it is one of these.

    All of them treat copies and near repeats as the request does, because its prompt is drafted once.
    """
    plain = replace(budget, rows=ALL_ROWS, flat_tolerance=None)
    for detail in reversed(Detail):
        yield f"detail {detail.value}", replace(plain, detail=detail)
    for mode in (ReductionMode.ECONOMY, ReductionMode.STRONG):
        yield mode.value, replace(budget, rows=mode.rows(budget.rows.reducer))
    yield "flat", replace(budget, flat_tolerance=0)
