"""Random rows, the same for all images of a size and on every machine: an uninformed baseline.

Orders rows by a hash (splitmix64) of row count and row number. numpy's generators may change their streams
between versions.
"""

from __future__ import annotations

import numpy as np

from fovea.contract.row_stream import GridIndices

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


def rank(count: int) -> GridIndices:
    """The numbers of `count` rows, shuffled."""
    mixed = (np.arange(count, dtype=np.uint64) + (np.uint64(count) << np.uint64(32))) * _GOLDEN
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable").astype(np.int32)
