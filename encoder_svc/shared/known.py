"""The keys that were added last: a bounded number of them, for a bounded time."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable


class RecentKeys:
    """A set that forgets the key that was added first, and every key after `age_s`."""

    def __init__(self, most: int, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._age_s = age_s
        self._clock = clock
        self._added: OrderedDict[bytes, float] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return self._clock() - self._added.get(key, -math.inf) < self._age_s

    def add(self, key: bytes) -> None:
        self._added[key] = self._clock()
        self._added.move_to_end(key)
        if len(self._added) > self._most:
            self._added.popitem(last=False)

    def clear(self) -> None:
        self._added.clear()
