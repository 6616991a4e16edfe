"""What a request would cost under other budgets: those that a caller may want to send instead.

Only names budgets. The planner plans them; no encoder is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from decoder_svc.budget.budget import ServerBudget
from fovea.contract.budget import KEPT_SHARE, Detail, ReductionMode


def alternatives(budget: ServerBudget) -> Iterator[tuple[str, ServerBudget]]:
    """Each with its name. The request's own budget is among them if it is one of these.

    All of them treat repeats and near repeats as the request does, because its prompt is rendered once.
    """
    whole = replace(budget, reduction=ReductionMode.OFF, keep=None, flat_tolerance=None)
    for detail in reversed(Detail):
        yield f"detail {detail.value}", replace(whole, detail=detail)
    for mode in (ReductionMode.ECONOMY, ReductionMode.STRONG):
        yield mode.value, replace(budget, reduction=None, keep=KEPT_SHARE[mode])
    yield "flat", replace(budget, flat_tolerance=0)
