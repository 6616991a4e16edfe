"""Alternative budgets for a request, so that a caller can compare what each would cost.

Only names the budgets. The planner plans them; no encoder is involved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from decoder_svc.budget.budget import ServerBudget
from fovea.contract.budget import KEPT_SHARE, Detail, ReductionMode


def alternatives(budget: ServerBudget) -> Iterator[tuple[str, ServerBudget]]:
    """Pairs of name and budget. The request's own budget may be among them.

    All treat repeats and near repeats as the request does, because its prompt is rendered only once.
    """
    whole = replace(budget, reduction=ReductionMode.OFF, keep=None, flat_tolerance=None)
    for detail in reversed(Detail):
        yield f"detail {detail.value}", replace(whole, detail=detail)
    for mode in (ReductionMode.ECONOMY, ReductionMode.STRONG):
        yield mode.value, replace(budget, reduction=None, keep=KEPT_SHARE[mode])
    yield "flat", replace(budget, flat_tolerance=0)
