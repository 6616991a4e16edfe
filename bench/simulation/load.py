"""The load of a round, for real and for simulated callers alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.simulation.fleet import Request

POOL = 8
"""Pictures whose rows are stored before the first round. Requests without a new picture are about these."""


@dataclass(frozen=True)
class Load:
    """In a round, `callers` share `requests`. A share `new` of them brings a picture of `side` pixels.

    A unique text stands before the picture, so that no prompt shares a prefix with another. Every answer has
    `tokens` tokens.
    """

    requests: int = 64
    callers: int = 8
    new: float = 0.75
    side: int = 512
    tokens: int = 16

    def draw(self, seed: int) -> list[Request]:
        """The requests in random order. Pictures below POOL are stored, the others are new."""
        random = np.random.default_rng(seed)
        brings = random.permutation(self.requests) < round(self.new * self.requests)
        stored = random.integers(POOL, size=self.requests)
        numbers = POOL + np.cumsum(brings) - 1
        return [
            Request(int(number if new else again), bool(new))
            for new, number, again in zip(brings, numbers, stored, strict=True)
        ]
