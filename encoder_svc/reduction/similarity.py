"""Cosine similarity of rows. Both content reducers compare rows by direction, not by length."""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import Floats


def cosines(rows: Floats) -> Floats:
    """(n, n) cosines of (n, width). A zero row is similar to no row, including itself."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    unit = rows / np.where(lengths > 0, lengths, 1)
    return np.asarray(unit @ unit.T, np.float32)
