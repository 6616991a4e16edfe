"""Cosines between rows. Both rankers that look at values compare rows by direction, not by length."""

from __future__ import annotations

import numpy as np

from encoder_svc.reduction.ranking import Floats


def cosines(rows: Floats) -> Floats:
    """(n, n) cosines of (n, width); a row of zeros is like no other row, and like itself neither."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    unit = rows / np.where(lengths > 0, lengths, 1)
    return np.asarray(unit @ unit.T, np.float32)
