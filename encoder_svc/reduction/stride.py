"""An even spread over the grid for every number of rows: the baseline that looks at nothing.

The dither mask of the R2 sequence (M. Roberts, 2018): the fraction of `row / g + column / g**2`, g the root
of g**3 = g + 1. Of the orders tried (Bayer's matrix, golden ratio along a snake or a Hilbert curve) it is the
evenest at the scale of three cells, and it cares for no power of two. Whole numbers, so that every machine
agrees.
"""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import GridIndices

# 1 / g and 1 / g**2 of 2**32.
_DOWN, _RIGHT = 3_242_174_889, 2_447_445_414


def rank(places: GridIndices, columns: int) -> GridIndices:
    """The numbers of the rows at `places` of a grid with so many columns, in their order."""
    down, right = np.divmod(places.astype(np.int64), columns)
    return np.argsort((down * _DOWN + right * _RIGHT) & 0xFFFFFFFF, kind="stable").astype(np.int32)
