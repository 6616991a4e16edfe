"""What one request brings to every draw of a token: its knobs, its generator, the tokens it has
seen, the format it is held to.

The state of sampling, apart from its arithmetic (`sampler`), so that it can rest and go on. Knows
no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import Sampling

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar


class SamplerState:
    """What one request brings to every draw: its generator, the tokens it has seen, its place in its format.

    `logprobs` is that of the last token, where the request asks for it.
    """

    grammar: Grammar | None = None
    logprobs: tuple[float, ...] = ()

    def __init__(
        self,
        sampling: Sampling,
        vocab_size: int,
        prompt: NDArray[np.int32],
        grammar: Grammar | None = None,
    ) -> None:
        self.sampling = sampling
        self.grammar = grammar
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
        if self.grammar is not None:
            self.grammar.advance(token_id)

    def check(self) -> None:
        """Raises FormatNotEnforceable where the answer can no longer be held to its format."""
        if self.grammar is not None and self.grammar.failure is not None:
            raise self.grammar.failure
