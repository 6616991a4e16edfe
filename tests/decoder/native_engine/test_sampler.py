"""Sampling draws from the distribution that transformers' processors leave, and from nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from decoder_svc.engine.protocol import Sampling
from decoder_svc.sampling.sampler import sample
from decoder_svc.sampling.state import SamplerState

VOCABULARY = 50
PROMPT = torch.tensor([3, 7, 7, 11])
SEEN = np.isin(np.arange(VOCABULARY), PROMPT.numpy())


class Even(SamplerState):
    """Draws the middle of slice `place` of `count` equal slices, instead of a random number."""

    def __init__(self, sampling: Sampling, place: int, count: int) -> None:
        self.sampling = sampling
        self.seen = SEEN if sampling.repetition_penalty != 1.0 else None
        self._value = (place + 0.5) / count

    def uniform(self) -> float:
        return self._value

    def saw(self, token_id: int) -> None:
        """Every draw is the first."""


def reference(logits: torch.Tensor, s: Sampling) -> torch.Tensor:
    """Probabilities (vocabulary,) by the processors of `generate`, in its order."""
    ids, scores = PROMPT[None], logits[None].clone()
    chain = [RepetitionPenaltyLogitsProcessor(s.repetition_penalty), TemperatureLogitsWarper(s.temperature)]
    chain += [TopKLogitsWarper(s.top_k)] if s.top_k else []
    chain += [TopPLogitsWarper(s.top_p)] if s.top_p < 1 else []
    chain += [MinPLogitsWarper(s.min_p)] if s.min_p else []
    for processor in chain:
        scores = processor(ids, scores)
    return scores[0].softmax(-1)


knobs = st.builds(
    Sampling,
    temperature=st.floats(0.2, 3.0),
    top_p=st.floats(0.05, 1.0),
    top_k=st.integers(0, VOCABULARY),
    min_p=st.floats(0.0, 0.5),
    repetition_penalty=st.floats(0.5, 2.0),
)


@given(s=knobs, seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_token_gets_its_share(s: Sampling, seed: int) -> None:
    """Even slices of [0, 1) fall on each token as often as its probability says: off by at most a slice
    at either end, and by what a token on the very edge of top-p or min-p weighs, where the last bit of a
    sum decides whether it stays.
    """
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3
    expected, count = reference(logits, s), 1000
    draws = [Even(s, place, count) for place in range(count)]
    drawn = torch.tensor(sample(logits.repeat(count, 1), draws)).bincount(minlength=VOCABULARY)
    assert (drawn - count * expected).abs().max() <= 1.5


def test_zero_temperature_is_greedy_whatever_else_is_set() -> None:
    logits = torch.randn(4, VOCABULARY)
    s = Sampling(temperature=0.0, top_p=0.5, top_k=7, min_p=0.1, seed=1)
    draws = [SamplerState(s, VOCABULARY, PROMPT.numpy()) for _ in range(4)]
    assert sample(logits.clone(), draws) == logits.argmax(-1).tolist()


@pytest.mark.parametrize("count", [2, 17])
def test_a_row_is_drawn_alike_alone_and_in_company(count: int) -> None:
    logits = torch.randn(count, VOCABULARY)
    mixed = [Sampling(temperature=0.3 * i, top_k=i, seed=i) for i in range(count)]

    def draws() -> list[SamplerState]:
        return [SamplerState(s, VOCABULARY, PROMPT.numpy()) for s in mixed]

    alone = [sample(logits[i : i + 1].clone(), [d])[0] for i, d in enumerate(draws())]
    assert sample(logits.clone(), draws()) == alone


def test_the_penalty_remembers_what_was_sampled() -> None:
    draws = SamplerState(Sampling(repetition_penalty=100.0), VOCABULARY, PROMPT.numpy())
    logits = torch.linspace(1.0, 2.0, VOCABULARY)[None]
    drawn = [sample(logits.clone(), [draws])[0] for _ in range(VOCABULARY - 3)]
    assert drawn == [t for t in range(VOCABULARY - 1, -1, -1) if t not in PROMPT]
