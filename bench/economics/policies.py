"""The ways of spending visual tokens that are compared, each a budget under a name.

Every policy is asked the same questions about the same pictures. Knows no service and no score.
"""

from __future__ import annotations

from dataclasses import dataclass

from fovea.client import Budget

EVERYTHING = 16_777_216
"""The checkpoint's own limit: no picture here is larger."""

REDUCERS = ("scope", "divprune", "stride", "random", "resize")
DEFAULT_REDUCER = "scope"
"""That of the server's modes, which stand for it in the tables."""
RATIOS = {"economy": 0.75, "strong": 0.5}
TOLERANCE = 8


@dataclass(frozen=True)
class Policy:
    """`view` is what the client sends: the picture as `drawn`, or as large as it was `uploaded`."""

    name: str
    budget: Budget
    view: str = "drawn"


def _whole(**fields: object) -> Budget:
    return Budget(max_pixels=EVERYTHING, detail="high", **fields)  # type: ignore[arg-type]


OFF = Policy("off", _whole(reduction="off"))
FLAT = Policy("flat", _whole(reduction="off", flat_tolerance=0))
FLAT_NEAR = Policy("flat near", _whole(reduction="off", flat_tolerance=TOLERANCE))
GAIN = Policy("auto", _whole(reduction="auto", reducer="scope"))
DEFAULTS = tuple(Policy(mode, _whole(reduction=mode)) for mode in RATIOS)
"""The modes with the reducer that the server takes where none is named."""
REDUCED = tuple(
    Policy(f"{reducer} {keep:g}", _whole(keep=keep, reducer=reducer))
    for keep in RATIOS.values()
    for reducer in REDUCERS
    if reducer != DEFAULT_REDUCER
)
NATIVE = Policy("native", _whole(reduction="off"), "uploaded")
AUTO = Policy("detail auto", Budget(max_pixels=EVERYTHING, detail="auto"), "uploaded")
AUTO_FLAT = Policy(
    "detail auto, flat", Budget(max_pixels=EVERYTHING, detail="auto", flat_tolerance=0), "uploaded"
)

CONTROLLED = tuple(Policy(f"control {policy.name}", policy.budget) for policy in (OFF, FLAT, *DEFAULTS))
"""Of a stand-in that was never trained with rows or squares left out."""

DRAWN = (OFF, FLAT, FLAT_NEAR, GAIN, *DEFAULTS, *REDUCED)
UPLOADED = (NATIVE, AUTO, AUTO_FLAT)


def reduced(reducer: str, mode: str) -> str:
    """The name of a policy that keeps what `mode` keeps, by `reducer`."""
    return mode if reducer == DEFAULT_REDUCER else f"{reducer} {RATIOS[mode]:g}"
