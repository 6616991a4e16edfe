"""How large a store must be for a hit rate, if requests for pictures are independent of each other.

The hit rate of a cache that evicts by last use is Che's approximation (Che, Tung and Wang, 2002). A picture
is still cached if it was requested within a time in which requests for others have not filled the cache.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from bench.bounds import Floats


def hit_rate(popularity: Floats, capacity: float) -> float:
    """The share of hits with room for `capacity` pictures; `popularity` are probabilities of requests."""
    if capacity >= len(popularity):
        return 1.0
    lifetime = brentq(lambda t: _held(popularity, t).sum() - capacity, 0.0, _never(popularity))
    return float((popularity * _held(popularity, lifetime)).sum())


def capacity_for(popularity: Floats, rate: float) -> float:
    """The least number of pictures whose cache has that hit rate, below 1."""
    lifetime = brentq(lambda t: (popularity * _held(popularity, t)).sum() - rate, 0.0, _never(popularity))
    return float(_held(popularity, lifetime).sum())


def _held(popularity: Floats, lifetime: float) -> Floats:
    """The probability that each picture is in the cache."""
    return np.asarray(-np.expm1(-popularity * lifetime))


def _never(popularity: Floats) -> float:
    """A time after which even the least popular picture has been asked for."""
    return float(50 / popularity.min())
