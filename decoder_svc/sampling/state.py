"""The state of a request's sampling: parameters, seed, tokens so far, and the position in its format.

Kept apart from the arithmetic (`sampler`), so that it survives preemption. Independent of torch.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import Sampling
from decoder_svc.sampling.deltas import TokenReport

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar


class Additions:
    """What is added to the logits of a few tokens: their ids (n,) int64, and the values (n,) fp32."""

    def __init__(self, values: Mapping[int, float]) -> None:
        self.ids: NDArray[np.int64] = np.fromiter(values.keys(), np.int64, len(values))
        self.values: NDArray[np.float32] = np.fromiter(values.values(), np.float32, len(values))


class CountPenalties:
    """The presence and the frequency penalty of an answer of at most `limit` tokens, as `Additions`."""

    def __init__(self, presence: float, frequency: float, limit: int) -> None:
        self._presence = presence
        self._frequency = frequency
        self._places: dict[int, int] = {}
        self._ids = np.zeros(limit, np.int64)
        self._counts = np.zeros(limit, np.int64)

    def saw(self, token_id: int) -> None:
        place = self._places.setdefault(token_id, len(self._places))
        self._ids[place] = token_id
        self._counts[place] += 1

    @property
    def ids(self) -> NDArray[np.int64]:
        """The distinct tokens of the answer."""
        return self._ids[: len(self._places)]

    @property
    def values(self) -> NDArray[np.float32]:
        counts = self._counts[: len(self._places)]
        return -(self._presence + self._frequency * counts).astype(np.float32)


class SamplerState:
    """`step` counts the sampled tokens. `report` is the last token's, if requested.

    `seen`, `biases` and `penalties` are None unless the request has a repetition penalty, biases, or a
    presence or frequency penalty.
    """

    report: TokenReport | None = None
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
        self.biases = Additions(sampling.logit_bias) if sampling.logit_bias else None
        self.penalties: CountPenalties | None = None
        if sampling.presence_penalty or sampling.frequency_penalty:
            self.penalties = CountPenalties(
                sampling.presence_penalty, sampling.frequency_penalty, sampling.token_limit
            )

    def key(self) -> tuple[int, int]:
        """Two words of 32 bits, from the seed and the step alone, that key the noise of the next token."""
        digest = hashlib.blake2b(f"{self._seed}/{self.step}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")

    def saw(self, token_id: int) -> None:
        self.step += 1
        if self.seen is not None:
            self.seen[token_id] = True
        if self.penalties is not None:
            self.penalties.saw(token_id)
        if self.grammar is not None:
            self.grammar.advance(token_id)

    def check(self) -> None:
        """Raises FormatNotEnforceable if the format of the answer can no longer be enforced."""
        if self.grammar is not None and self.grammar.failure is not None:
            raise self.grammar.failure
