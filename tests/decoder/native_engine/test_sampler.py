"""Sampling draws from the distribution that transformers' processors leave, and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from decoder_svc.engine.protocol import MAX_PENALTY, MAX_TEMPERATURE, MIN_PENALTY, MIN_TEMPERATURE, Sampling
from decoder_svc.sampling.noise import SPREAD, gumbel
from decoder_svc.sampling.sampler import FEW, _least_kept, sample
from decoder_svc.sampling.state import SamplerState

VOCABULARY = 50
PROMPT = torch.tensor([3, 7, 7, 11])
SEEN = np.isin(np.arange(VOCABULARY), PROMPT.numpy())


class CountPenalties:
    """OpenAI's formula, which transformers has no processor for: only tokens of the answer count."""

    def __init__(self, s: Sampling) -> None:
        self._presence, self._frequency = s.presence_penalty, s.frequency_penalty

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        counts = ids[0, len(PROMPT) :].bincount(minlength=scores.shape[-1])
        return scores - counts * self._frequency - (counts > 0).float() * self._presence


def reference(logits: torch.Tensor, s: Sampling, answer: Sequence[int] = ()) -> torch.Tensor:
    """Probabilities (vocabulary,) by the processors of `generate`, in its order, after this much answer."""
    ids, scores = torch.cat([PROMPT, torch.tensor(answer, dtype=torch.long)])[None], logits[None].clone()
    biases = {(token,): bias for token, bias in s.logit_bias.items()}
    chain: list[Any] = [SequenceBiasLogitsProcessor(biases)] if biases else []
    chain += [RepetitionPenaltyLogitsProcessor(s.repetition_penalty), CountPenalties(s)]
    chain += [TemperatureLogitsWarper(s.temperature)] if not s.is_greedy else []
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
    top_k=st.integers(0, VOCABULARY).filter(lambda k: k != 1),  # 1 is greedy
    min_p=st.floats(0.0, 0.5),
    repetition_penalty=st.floats(0.5, 2.0),
    presence_penalty=st.floats(-2.0, 2.0),
    frequency_penalty=st.floats(-2.0, 2.0),
    logit_bias=st.dictionaries(st.integers(0, VOCABULARY - 1), st.floats(-5.0, 5.0), max_size=8),
)
answers = st.lists(st.integers(0, VOCABULARY - 1), max_size=20)


def after(answer: Sequence[int], s: Sampling) -> SamplerState:
    """The state of a request that has sampled this much of its answer."""
    state = SamplerState(s, VOCABULARY, PROMPT.numpy())
    for token in answer:
        state.saw(token)
    return state


def drawn(
    logits: torch.Tensor, s: Sampling, count: int, batch: int = 500, answer: Sequence[int] = ()
) -> torch.Tensor:
    """How often each token is drawn after `answer` with `count` seeds."""
    found = []
    for first in range(0, count, batch):
        states = [after(answer, replace(s, seed=first + i)) for i in range(batch)]
        found += sample(logits.repeat(batch, 1), states)
    return torch.tensor(found).bincount(minlength=VOCABULARY)


def chi_square(observed: torch.Tensor, probabilities: torch.Tensor) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom; cells of fewer than five expected are one cell."""
    expected = probabilities.double() * observed.sum()
    rare = expected < 5
    observed = torch.cat([observed[~rare], observed[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    there = expected > 0
    assert not observed[~there].any(), "a token without probability was drawn"
    terms = (observed[there] - expected[there]) ** 2 / expected[there]
    return float(terms.sum()), int(there.sum()) - 1


def too_large(statistic: float, freedom: int) -> bool:
    """Beyond five deviations, by Wilson and Hilferty's approximation: one in three million by chance."""
    if freedom == 0:
        return False
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5
    return z > 5


@pytest.mark.long
@given(s=knobs, seed=st.integers(0, 1000), answer=answers)
@settings(max_examples=30, deadline=None)
def test_tokens_are_drawn_as_often_as_transformers_would(s: Sampling, seed: int, answer: list[int]) -> None:
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3
    observed = drawn(logits, s, 1500, answer=answer)
    assert not too_large(*chi_square(observed, reference(logits, s, answer)))


@given(s=knobs, seed=st.integers(0, 1000), answer=answers)
@settings(max_examples=200, deadline=None)
def test_greedy_takes_the_token_that_transformers_would(s: Sampling, seed: int, answer: list[int]) -> None:
    greedy = replace(s, temperature=0.0, top_k=0)
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3
    (token,) = sample(logits[None].clone(), [after(answer, greedy)])
    likely = reference(logits, greedy, answer)
    assert likely[token] >= likely.max() * (1 - 1e-5), "two tokens as good as equal may swap"


def test_penalties_count_the_answer_and_not_the_prompt() -> None:
    """An answer of twelve tokens: each of three that are equally likely comes as often as the others."""
    logits = torch.full((1, VOCABULARY), -50.0)
    logits[0, [3, 20, 30]] = torch.tensor([1.0, 0.9, 0.8])  # 3 stands in the prompt
    for s, expected in (
        (Sampling(frequency_penalty=1.0), [3, 20, 30] * 4),
        (Sampling(presence_penalty=1.0), [3, 20, 30, *[3] * 9]),
        (Sampling(presence_penalty=-1.0), [3] * 12),
    ):
        state, answer = after((), s), []
        for _ in range(12):
            answer += _drawn(logits.clone(), [state])
        assert answer == expected


def test_a_bias_bans_or_forces_a_token() -> None:
    logits = torch.randn(1, VOCABULARY)
    best = int(logits.argmax())
    for biases, allowed in (({best: -100.0}, set(range(VOCABULARY)) - {best}), ({7: 100.0}, {7})):
        for temperature in (0.0, 1.0):
            s = Sampling(temperature=temperature, logit_bias=biases)
            states = [after((), replace(s, seed=seed)) for seed in range(200)]
            assert set(sample(logits.repeat(200, 1), states)) <= allowed


def test_top_logprobs_are_those_of_the_model_before_penalties() -> None:
    logits = torch.randn(4, VOCABULARY)
    expected = logits.log_softmax(-1)
    bent = {"presence_penalty": 2.0, "logit_bias": {3: 50.0}, "repetition_penalty": 3.0, "logprobs": True}
    states = [after([5, 5], Sampling(top_logprobs=count, **bent)) for count in (0, 1, 20)]  # type: ignore[arg-type]
    states.append(after([5, 5], Sampling()))
    tokens = sample(logits.clone(), states)
    assert states.pop().report is None
    for row, (state, token) in enumerate(zip(states, tokens, strict=False)):
        assert state.report is not None
        assert state.report.logprob == pytest.approx(float(expected[row, token]), abs=1e-5)
        values, ids = expected[row].topk(20)
        best = list(zip(ids.tolist(), values.tolist(), strict=True))[: state.sampling.top_logprobs]
        assert [token for token, _ in state.report.top] == [token for token, _ in best]
        assert [value for _, value in state.report.top] == pytest.approx([value for _, value in best])


def test_of_equally_likely_tokens_the_lower_ids_are_reported() -> None:
    """In bf16 many logits are equal; which of them are reported must not depend on the machine."""
    logits = torch.tensor([[0.0, 2.0, 1.0, 1.0, 1.0, 1.0], [0.0] * 6])
    states = [
        SamplerState(Sampling(logprobs=True, top_logprobs=count), 6, PROMPT.numpy()[:1]) for count in (3, 20)
    ]
    sample(logits, states)
    assert [[token for token, _ in s.report.top] for s in states if s.report] == [[1, 2, 3], [*range(6)]]


def test_a_batch_without_penalties_and_biases_costs_no_step_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is moved to the device for requests that use none of it."""
    plain = [after([1], Sampling(temperature=1.0)) for _ in range(3)]
    monkeypatch.setattr("decoder_svc.sampling.sampler.np.concatenate", None)
    sample(torch.randn(3, VOCABULARY), plain)
    with pytest.raises(TypeError):
        sample(torch.randn(1, VOCABULARY), [after([1], Sampling(presence_penalty=1.0))])


def test_the_distribution_is_that_of_the_model() -> None:
    """Many draws at once, so that a small bias shows."""
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(1))
    counts = drawn(logits, Sampling(temperature=0.8), 40_000, batch=4000)
    assert not too_large(*chi_square(counts, (logits / 0.8).softmax(-1)))
    assert too_large(*chi_square(counts, (logits / 0.9).softmax(-1))), "the test must tell 0.8 from 0.9"


def _drawn(logits: torch.Tensor, states: list[SamplerState]) -> list[int]:
    """A step of each: the tokens that are drawn, noted as the engine notes them."""
    tokens = sample(logits, states)
    for state, token in zip(states, tokens, strict=True):
        state.saw(token)
    return tokens


def test_consecutive_draws_of_a_seed_are_independent() -> None:
    """Pairs of consecutive draws of four tokens alike: sixteen cells, equally likely."""
    logits = torch.full((4000, 4), 0.0)
    states = [SamplerState(Sampling(temperature=1.0, seed=i), 4, np.zeros(0, np.int32)) for i in range(4000)]
    first, second = (torch.tensor(_drawn(logits.clone(), states)) for _ in range(2))
    cells = (4 * first + second).bincount(minlength=16)
    assert not too_large(*chi_square(cells, torch.full((16,), 1 / 16)))


def test_noise_is_independent_of_the_place_of_a_token_and_of_its_batch() -> None:
    keys = torch.tensor([[1, 2], [3, 4], [0xFFFFFFFF, 0]])
    rows, ids = torch.tensor([0, 1, 2, 0, 2]), torch.tensor([7, 7, 7, 151_935, 0])
    together = gumbel(keys[rows], ids)
    alone = torch.cat([gumbel(keys[row][None], i[None]) for row, i in zip(rows, ids, strict=True)])
    assert torch.equal(together, alone)
    # Pinned, because a seed's answers are kept by callers: these are what another version must give, too.
    expected = torch.tensor([0.58086616, 3.12786174, 1.41702461, -0.15140112, -0.54634380])
    assert torch.equal(together, expected)


def test_gumbel_noise_is_finite_and_within_its_spread() -> None:
    noise = gumbel(torch.tensor([[5, 6]]).expand(200_000, 2), torch.arange(200_000))
    assert torch.isfinite(noise).all()
    assert float(noise.max() - noise.min()) < SPREAD
    # The mean of the Gumbel distribution is Euler's constant, its variance pi^2 / 6.
    assert abs(float(noise.mean()) - 0.5772) < 0.02
    assert abs(float(noise.var()) - math.pi**2 / 6) < 0.05


@pytest.mark.parametrize("s", [Sampling(temperature=1.0), Sampling(temperature=0.7, top_p=0.9, top_k=40)])
def test_a_seed_survives_logits_that_differ_in_the_last_bits(s: Sampling) -> None:
    """Near-equal logits swap ranks between batch sizes in bf16. Of the draws about as large a share changes as
    the logits move; drawn by rank, 39 % and 14 % of these would.
    """
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(2000, 400, generator=random)
    moved = logits + 0.02 * (torch.rand(logits.shape, generator=random) - 0.5)
    both = [
        sample(x.clone(), [SamplerState(replace(s, seed=i), 400, PROMPT.numpy()) for i in range(len(x))])
        for x in (logits, moved)
    ]
    changed = sum(a != b for a, b in zip(*both, strict=True)) / len(logits)
    assert changed < 0.02


def test_without_a_seed_two_requests_draw_differently() -> None:
    logits, s = torch.zeros(64, VOCABULARY), Sampling(temperature=1.0)
    answers = [
        sample(logits.clone(), [SamplerState(s, VOCABULARY, PROMPT.numpy()) for _ in range(64)])
        for _ in range(2)
    ]
    assert answers[0] != answers[1]


def test_a_draw_depends_only_on_seed_and_step() -> None:
    """Neither on how often others drew, nor on anything that preemption would lose."""
    logits = torch.randn(12, VOCABULARY)
    s = Sampling(temperature=1.0, seed=9)
    states = SamplerState(s, VOCABULARY, PROMPT.numpy())
    whole = [_drawn(row[None].clone(), [states])[0] for row in logits]
    for step, row in enumerate(logits):
        later = SamplerState(s, VOCABULARY, PROMPT.numpy())
        later.step = step
        assert sample(row[None].clone(), [later]) == [whole[step]]


def test_every_token_that_was_drawn_is_a_step() -> None:
    states = SamplerState(Sampling(temperature=1.0, seed=3), VOCABULARY, PROMPT.numpy())
    keys = []
    for token in range(50):
        keys.append(states.key())
        states.saw(token)
    assert len(set(keys)) == 50
    assert all(0 <= word < 2**32 for key in keys for word in key)


LOGITS = torch.tensor([[1.0, 5.0, 5.5, -3.0, 5.25] + [-20.0] * 45])
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


@pytest.mark.parametrize("temperature", [SMALLEST, 1e-40, 1e-38, 1e-20, 1e-6, 0.009, 0.0, -0.0])
@pytest.mark.parametrize("others", [{}, {"top_k": 3}, {"top_p": 0.9, "min_p": 0.1}])
def test_a_temperature_below_the_floor_is_greedy(temperature: float, others: dict[str, Any]) -> None:
    states = [
        SamplerState(Sampling(temperature=temperature, seed=i, **others), 50, PROMPT.numpy())
        for i in range(20)
    ]
    assert sample(LOGITS.repeat(20, 1), states) == [2] * 20


@pytest.mark.parametrize("scale", [1.0, 1e30, 3e37, 1e-30])
@pytest.mark.parametrize("temperature", [MIN_TEMPERATURE, 1.0, MAX_TEMPERATURE])
@pytest.mark.parametrize("penalty", [MIN_PENALTY, 1.0, MAX_PENALTY])
def test_no_logit_overflows_within_the_limits(scale: float, temperature: float, penalty: float) -> None:
    """Draws stay among the tokens of the exact distribution, and greedy takes the largest after the penalty."""
    prompt = np.array([1, 3, 7], np.int32)
    exact = scale * LOGITS[0].double()
    seen = torch.zeros(50, dtype=torch.bool).index_fill_(0, torch.from_numpy(prompt).long(), True)
    exact = torch.where(seen, torch.where(exact < 0, exact * penalty, exact / penalty), exact)
    exact = exact.clamp(*torch.tensor([-1, 1]).double() * torch.finfo(torch.float32).max)
    likely = (exact / temperature).softmax(-1)
    s = Sampling(temperature=temperature, repetition_penalty=penalty)
    states = [SamplerState(replace(s, seed=i), 50, prompt) for i in range(200)]
    assert all(likely[token] > 1e-9 for token in sample((scale * LOGITS).repeat(200, 1), states))
    greedy = SamplerState(replace(s, temperature=0.0), 50, prompt)
    assert exact[sample(scale * LOGITS, [greedy])[0]] == exact.max()


def kept(s: Sampling, logits: torch.Tensor) -> set[int]:
    """Every token that is drawn with 4,000 seeds."""
    size = logits.shape[-1]
    states = [SamplerState(replace(s, seed=i), size, np.zeros(0, np.int32)) for i in range(4000)]
    return set(sample(logits.expand(4000, -1).clone(), states))


def test_extreme_cuts_keep_the_best_token_or_everything() -> None:
    logits = torch.linspace(0.0, 0.5, 20)
    for s in (
        Sampling(top_p=SMALLEST),
        Sampling(min_p=1.0),
        Sampling(top_k=1),
        Sampling(top_p=1e-6, min_p=0.5),
    ):
        assert kept(replace(s, temperature=100.0), logits) == {19}
    for s in (
        Sampling(),
        Sampling(top_p=1.0),
        Sampling(min_p=SMALLEST),
        Sampling(top_k=20),
        Sampling(top_k=2**32 - 1),
    ):
        assert kept(replace(s, temperature=1.0), logits) == set(range(20))


def test_top_p_1_drops_no_token_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeliest token has all of the probability that fp32 can tell; noise as rare as can be is needed."""

    def rare(keys: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.where(ids == 1, 22.0, -3.0)

    monkeypatch.setattr("decoder_svc.sampling.sampler.gumbel", rare)
    logits = torch.tensor([[0.0, -20.0, -30.0]])
    assert logits.softmax(-1)[0, 0] == 1.0
    assert sample(logits.clone(), [SamplerState(Sampling(temperature=1.0), 3, np.zeros(0, np.int32))]) == [1]
    assert sample(
        logits, [SamplerState(Sampling(temperature=1.0, top_p=0.999), 3, np.zeros(0, np.int32))]
    ) == [0]


def test_tokens_as_likely_as_the_last_one_kept_are_kept() -> None:
    logits = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0])
    assert kept(Sampling(temperature=1.0, top_k=2), logits) == {0, 1, 2, 3}
    assert kept(Sampling(temperature=1.0, top_p=0.6), logits) == {0, 1, 2, 3}


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999])
def test_top_p_over_a_large_vocabulary_is_that_of_transformers(top_p: float) -> None:
    """More tokens than are sorted first weigh less than top-p, or more."""
    for scale in (0.1, 3.0):
        logits = scale * torch.randn(1, 6000, generator=torch.Generator().manual_seed(3))
        expected = TopPLogitsWarper(top_p)(PROMPT[None], logits.clone()) > -torch.inf
        least = _least_kept(logits, torch.tensor([[torch.inf]]), torch.tensor([[top_p]]), FEW)
        differ = (expected != (logits >= least)).sum()
        assert differ <= 1, "the last bit of a sum decides about one token"


def test_temperature_0_is_greedy_whatever_else_is_set() -> None:
    logits = torch.randn(4, VOCABULARY)
    s = Sampling(temperature=0.0, top_p=0.5, top_k=7, min_p=0.1, seed=1)
    states = [SamplerState(s, VOCABULARY, PROMPT.numpy()) for _ in range(4)]
    assert sample(logits.clone(), states) == logits.argmax(-1).tolist()


@pytest.mark.parametrize("count", [2, 17])
def test_a_row_is_sampled_alike_alone_and_in_a_batch(count: int) -> None:
    logits = torch.randn(count, VOCABULARY)
    mixed = [
        Sampling(
            temperature=0.3 * i,
            top_k=i,
            seed=i,
            presence_penalty=i % 3,
            frequency_penalty=i % 2,
            logit_bias={7: 2.0} if i % 4 == 1 else {},
        )
        for i in range(count)
    ]

    def states() -> list[SamplerState]:
        return [after([3, 3, 7, 8], s) for s in mixed]

    alone = [sample(logits[i : i + 1].clone(), [d])[0] for i, d in enumerate(states())]
    assert sample(logits.clone(), states()) == alone


def test_the_penalty_remembers_what_was_sampled() -> None:
    states = SamplerState(Sampling(repetition_penalty=100.0), VOCABULARY, PROMPT.numpy())
    logits = torch.linspace(1.0, 2.0, VOCABULARY)[None]
    drawn = []
    for _ in range(VOCABULARY - 3):
        drawn += sample(logits.clone(), [states])
        states.saw(drawn[-1])
    assert drawn == [t for t in range(VOCABULARY - 1, -1, -1) if t not in PROMPT]
