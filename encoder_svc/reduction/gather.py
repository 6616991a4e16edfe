"""Copies selected rows out of all encoded rows of an image."""

from __future__ import annotations

import numpy as np

from encoder_svc.store.core import StoredRows
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import digest


def gather(rows: StoredRows, indices: GridIndices) -> StoredRows:
    """The `rows` at `indices`, which ascend and are all present, with a digest of their own. Returns `rows`
    itself if `indices` are all of them.
    """
    if len(indices) == rows.count:
        return rows
    numbers = np.searchsorted(rows.indices, indices)
    whole = np.frombuffer(rows.data, np.uint8).reshape(rows.count, rows.layout.row_bytes)
    selected = whole.take(numbers, axis=0).reshape(-1).data.toreadonly()
    return StoredRows(selected, rows.layout, rows.grid_thw, digest(selected), indices)
