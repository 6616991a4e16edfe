"""The deadline of a call, propagated from hop to hop.

gRPC does not propagate deadlines by itself. Each hop subtracts a margin, so that the caller receives a typed
error of ours rather than its own timeout.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from fovea.contract.errors import DeadlineExceeded

MARGIN_S = 0.05
SPARED = 0.25
"""The share of the time left that an attempt leaves to the next."""


@dataclass(frozen=True)
class Deadline:
    """`at` is on the monotonic clock; None is no deadline. From `gives_way` on, an attempt without progress
    gives way to the next; None for the only or last attempt.
    """

    at: float | None = None
    gives_way: float | None = None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    def sparing(self) -> Deadline:
        """The deadline of an attempt that another may follow."""
        if self.at is None:
            return self
        return replace(self, gives_way=self.at - SPARED * max(0.0, self.at - time.monotonic()))

    @property
    def patience_s(self) -> float:
        """Seconds without progress, from now, after which an attempt gives way."""
        if self.at is None or self.gives_way is None:
            return math.inf
        return max(self.gives_way - time.monotonic(), (self.at - self.gives_way) / 4)

    @property
    def or_never(self) -> float:
        """The moment of the deadline, infinite without a deadline."""
        return math.inf if self.at is None else self.at

    @property
    def passed(self) -> bool:
        """Whether no time is left for another hop."""
        return self.at is not None and time.monotonic() >= self.at - MARGIN_S

    def share(self, share: float) -> Deadline:
        """The deadline of work that may take a share of the time that is left now."""
        if self.at is None:
            return self
        now = time.monotonic()
        return Deadline(now + share * (self.at - now))

    def timeout(self, at_most: float | None = None) -> float | None:
        """Seconds left for the next hop, less the margin, and at most `at_most`.

        Raises DeadlineExceeded if none are left: gRPC reports a call that starts expired as an internal
        error.
        """
        if self.at is None:
            return at_most
        left = self.at - time.monotonic() - MARGIN_S
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before the work was done")
        return left if at_most is None else min(left, at_most)


NO_DEADLINE = Deadline()
