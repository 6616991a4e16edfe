"""Turns of a bench: as many as its time allows, and at least a minimum."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping


def turns(seconds: float, least: int) -> Iterator[int]:
    """Yield 0, 1, 2, ... until `seconds` have passed and `least` turns were made."""
    end, turn = time.perf_counter() + seconds, 0
    while turn < least or time.perf_counter() < end:
        yield turn
        turn += 1


def time_in_turns(
    steps: Mapping[str, Callable[[int], object]], seconds: float, least: int, warm_up: int = 0
) -> dict[str, list[float]]:
    """The seconds of each step, all steps in every turn. The first `warm_up` turns are not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in turns(seconds, least + warm_up):
        for name, step in steps.items():
            begin = time.perf_counter()
            step(turn)
            if turn >= warm_up:
                times[name].append(time.perf_counter() - begin)
    return times


def ms_since(begin: float) -> float:
    return 1000 * (time.perf_counter() - begin)
