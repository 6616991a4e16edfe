"""How time grows with bytes: the slope of a straight line through the logarithms of both.

1 is proportional, below it something is paid only once, above it more is paid for each byte the more there
are. Knows pairs of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.bounds import Bounded, Floats, bootstrap


def log_log_slope(points: Sequence[tuple[float, float]], seed: int = 0) -> Bounded:
    """By least squares over (bytes, seconds); every point is drawn by itself, so that a bad fit widens the
    bounds. Raises ValueError unless there are at least two different numbers of bytes.
    """
    samples = np.log(np.asarray(points, dtype=np.float64))
    if len(np.unique(samples[:, 0])) < 2:
        raise ValueError("one number of bytes has no slope")
    return bootstrap(samples, _slopes, seed)


def _slopes(drawn: Floats) -> Floats:
    """A draw of one point only, again and again, has no slope of its own and gets that of the others."""
    x, y = drawn[..., 0], drawn[..., 1]
    x = x - x.mean(axis=1, keepdims=True)
    spread = (x * x).sum(axis=1)
    flat = spread < 1e-12
    slopes = (x * (y - y.mean(axis=1, keepdims=True))).sum(axis=1) / np.where(flat, 1.0, spread)
    return np.asarray(np.where(flat, np.median(slopes[~flat]), slopes))
