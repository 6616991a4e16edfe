"""An even spread over the grid for every number of rows: the baseline that looks at nothing.

The order of an ordered dither (Bayer's matrix): row and column of a place, their bits interleaved and reversed. The
first quarter is every other row and column, the first half a chessboard, and between them it stays as even as it can.
"""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import Places

_BITS = 16


def rank(places: Places, columns: int) -> Places:
    """The numbers of the rows at `places` of a grid with so many columns, in their order."""
    down, right = np.divmod(places.astype(np.int64), columns)
    keys = np.zeros(len(places), np.int64)
    for bit in range(_BITS):
        keys = keys << 2 | ((down ^ right) >> bit & 1) << 1 | down >> bit & 1
    return np.argsort(keys, kind="stable").astype(np.int32)
