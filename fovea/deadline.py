"""The moment by which an answer is wanted, passed on from call to call.

gRPC does not pass deadlines on by itself. A margin is taken off at each hop, so that the caller hears a typed
error from us rather than its own timeout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

MARGIN_S = 0.05


@dataclass(frozen=True)
class Deadline:
    """`at` is on the monotonic clock; None is no deadline."""

    at: float | None = None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    def timeout(self, at_most: float | None = None) -> float | None:
        """Seconds left for the next hop, less the margin and never below zero; `at_most` bounds them."""
        if self.at is None:
            return at_most
        left = max(0.0, self.at - time.monotonic() - MARGIN_S)
        return left if at_most is None else min(left, at_most)
