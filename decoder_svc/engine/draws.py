"""What one request brings to every draw of a token: its knobs, its generator, the tokens it has
seen.

The state of sampling, apart from its arithmetic (`sampler`), so that it can rest and go on. Knows
no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder_svc.core import Sampling


class Draws:
    """What one request brings to every draw: its generator, and the tokens it has seen."""

    def __init__(self, sampling: Sampling, vocab_size: int, prompt: NDArray[np.int32]) -> None:
        self.sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self.seen: NDArray[np.bool_] | None = None
        if sampling.repetition_penalty != 1.0:
            self.seen = np.zeros(vocab_size, np.bool_)
            self.seen[prompt] = True

    @property
    def is_greedy(self) -> bool:
        return self.sampling.temperature == 0.0

    def uniform(self) -> float:
        return float(self._random.random())

    def saw(self, token_id: int) -> None:
        if self.seen is not None:
            self.seen[token_id] = True
