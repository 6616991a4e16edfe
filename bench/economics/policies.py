"""The compared ways of spending visual tokens: budgets, and what the client sends, under a name.

Every policy is asked the same questions about the same pictures. Independent of services and scores.
"""

from __future__ import annotations

from bench.evaluation.asking import Policy
from bench.evaluation.views import UPLOADED as UPLOADED_VIEW
from fovea.client import Budget

EVERYTHING = 16_777_216
"""The checkpoint's own limit: no picture here is larger."""

REDUCERS = ("scope", "divprune", "stride", "random", "resize")
DEFAULT_REDUCER = "scope"
"""The reducer of the server's modes, which represent it in the tables."""
RATIOS = {"economy": 0.75, "strong": 0.5}
TOLERANCE = 8


def _whole(**fields: object) -> Budget:
    return Budget(max_pixels=EVERYTHING, detail="high", **fields)  # type: ignore[arg-type]


def _auto(**fields: object) -> Budget:
    return Budget(max_pixels=EVERYTHING, detail="auto", **fields)  # type: ignore[arg-type]


OFF = Policy("off", _whole(reduction="off"))
FLAT = Policy("flat", _whole(reduction="off", flat_tolerance=0))
FLAT_NEAR = Policy("flat near", _whole(reduction="off", flat_tolerance=TOLERANCE))
GAIN = Policy("auto", _whole(reduction="auto", reducer="scope"))
DEFAULTS = tuple(Policy(mode, _whole(reduction=mode)) for mode in RATIOS)
"""The modes with the reducer that the server uses by default."""
REDUCED = tuple(
    Policy(f"{reducer} {keep:g}", _whole(keep=keep, reducer=reducer))
    for keep in RATIOS.values()
    for reducer in REDUCERS
    if reducer != DEFAULT_REDUCER
)
NATIVE = Policy("native", _whole(reduction="off"), UPLOADED_VIEW)
AUTO = Policy("detail auto", _auto(), UPLOADED_VIEW)
AUTO_FLAT = Policy("detail auto, flat", _auto(flat_tolerance=0), UPLOADED_VIEW)

CONTROLLED = tuple(Policy(f"control {policy.name}", policy.budget) for policy in (OFF, FLAT, *DEFAULTS))
"""For a stand-in that was never trained with rows or patches left out."""

DRAWN = (OFF, FLAT, FLAT_NEAR, GAIN, *DEFAULTS, *REDUCED)
UPLOADED = (NATIVE, AUTO, AUTO_FLAT)


def reduced(reducer: str, mode: str) -> str:
    """The name of the policy that keeps as much as `mode`, selected by `reducer`."""
    return mode if reducer == DEFAULT_REDUCER else f"{reducer} {RATIOS[mode]:g}"
