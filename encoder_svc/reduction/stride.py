"""An even spread over the grid for every row count: a baseline that reads no content.

The dither mask of the R2 sequence (M. Roberts, 2018): the fraction of `row / g + column / g**2`, g the root
of g**3 = g + 1. Among the orders tried (Bayer's matrix, golden ratio along a snake or a Hilbert curve) it is
the most even at the scale of three cells, and it needs no power of two. Integer arithmetic makes every
machine agree.
"""

from __future__ import annotations

import numpy as np

from fovea.contract.row_stream import GridIndices

# 1 / g and 1 / g**2, scaled by 2**32.
_ROW_STEP, _COLUMN_STEP = 3_242_174_889, 2_447_445_414


def rank(indices: GridIndices, columns: int) -> GridIndices:
    """Numbers of the rows at `indices` of a grid with `columns` columns, in rank order."""
    row, column = np.divmod(indices.astype(np.int64), columns)
    return np.argsort((row * _ROW_STEP + column * _COLUMN_STEP) & 0xFFFFFFFF, kind="stable").astype(np.int32)
