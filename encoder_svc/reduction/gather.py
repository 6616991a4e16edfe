"""The rows at some places out of all encoded rows of an image, in one copy."""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import GridIndices
from encoder_svc.store.core import StoredRows
from fovea.contract.rows import digest


def encoded_indices(rows: StoredRows) -> GridIndices:
    """Where these rows stand in the merged grid."""
    kept = range(rows.count) if rows.kept is None else rows.kept
    return np.asarray(kept, np.int32)


def gather(rows: StoredRows, places: GridIndices) -> StoredRows:
    """Those of `rows` at `places`, which ascend and are all there; with a digest of their own. All are
    `rows`.
    """
    if len(places) == rows.count:
        return rows
    at = np.searchsorted(encoded_indices(rows), places)
    whole = np.frombuffer(rows.data, np.uint8).reshape(rows.count, rows.layout.row_bytes)
    taken = whole.take(at, axis=0).reshape(-1).data.toreadonly()
    return StoredRows(taken, rows.layout, rows.grid_thw, digest(taken), tuple(places.tolist()))
