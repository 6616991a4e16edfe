"""Kept indices as encoders send them: whatever does not fit the grid is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.contract.row_stream import are_kept_indices, kept_from_proto


@pytest.mark.parametrize(
    ("indices", "fits"),
    [
        ([0], True),
        ([0, 9], True),
        ([0, 10], False),
        ([1, 1], False),
        ([2, 1], False),
        ([5, 2**31 + 3], False),  # its difference wraps around in int32
        ([2**31 + 3, 5], False),
        ([2**32 - 1], False),
        ([0, 2**31, 9], False),
    ],
)
def test_kept_indices_ascend_within_the_grid(indices: list[int], fits: bool) -> None:
    kept = kept_from_proto(indices)
    assert kept is not None
    assert kept.dtype == np.int32
    assert are_kept_indices(kept, 10) is fits


def test_no_index_is_every_row() -> None:
    assert kept_from_proto([]) is None
