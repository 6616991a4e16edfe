"""The state of a request's sampling: parameters, seed, seen tokens, and the position in its format.

Kept apart from the arithmetic (`sampler`), so that it survives preemption. Independent of torch.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import Sampling

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar


class SamplerState:
    """`step` counts the sampled tokens. `logprobs` holds the last token's, if requested."""

    logprobs: tuple[float, ...] = ()
    step = 0

    def __init__(
        self, sampling: Sampling, vocab_size: int, prompt: NDArray[np.int32], grammar: Grammar | None = None
    ) -> None:
        self.sampling = sampling
        self.grammar = grammar
        self._seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self.seen: NDArray[np.bool_] | None = None
        if sampling.repetition_penalty != 1.0:
            self.seen = np.zeros(vocab_size, np.bool_)
            self.seen[prompt] = True

    def key(self) -> tuple[int, int]:
        """Two words of 32 bits, from the seed and the step alone, that key the noise of the next token."""
        digest = hashlib.blake2b(f"{self._seed}/{self.step}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")

    def saw(self, token_id: int) -> None:
        self.step += 1
        if self.seen is not None:
            self.seen[token_id] = True
        if self.grammar is not None:
            self.grammar.advance(token_id)

    def check(self) -> None:
        """Raises FormatNotEnforceable if the format of the answer can no longer be enforced."""
        if self.grammar is not None and self.grammar.failure is not None:
            raise self.grammar.failure
