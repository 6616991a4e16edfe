"""The moment by which an answer is wanted, passed on from call to call.

gRPC does not pass deadlines on by itself. A margin is taken off at each hop, so that the caller hears a typed
error from us rather than its own timeout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from fovea.contract.errors import DeadlineExceeded

MARGIN_S = 0.05


@dataclass(frozen=True)
class Deadline:
    """`at` is on the monotonic clock; None is no deadline."""

    at: float | None = None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def passed(self) -> bool:
        """Whether nothing is left for another hop."""
        return self.at is not None and time.monotonic() >= self.at - MARGIN_S

    def timeout(self, at_most: float | None = None) -> float | None:
        """Seconds left for the next hop, less the margin; `at_most` bounds them. Raises DeadlineExceeded
        where nothing is left: gRPC makes an internal error of a call that has expired when it begins.
        """
        if self.at is None:
            return at_most
        left = self.at - time.monotonic() - MARGIN_S
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before the work was done")
        return left if at_most is None else min(left, at_most)
