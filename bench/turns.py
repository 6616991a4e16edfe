"""How long a part of a bench measures: as many turns as fit into its time, and never too few."""

from __future__ import annotations

import time
from collections.abc import Iterator


def turns(seconds: float, least: int) -> Iterator[int]:
    """0, 1, 2, ... until `seconds` have passed and `least` turns were given."""
    end, turn = time.perf_counter() + seconds, 0
    while turn < least or time.perf_counter() < end:
        yield turn
        turn += 1


def ms_since(begin: float) -> float:
    return 1000 * (time.perf_counter() - begin)
