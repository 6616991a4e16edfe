"""From logits to tokens, for a batch of requests that each have their own parameters.

The order is that of transformers' processors and of vLLM: biases, repetition penalty, frequency and presence
penalty, format, temperature, top-k, top-p, min-p. A draw adds the request's own noise (`noise`) to the
remaining logits and takes the largest sum, so the rest of the batch has no influence. Log-probabilities are
those of the model before all of this, as OpenAI and vLLM report them. So a token that the format forces may
have a low value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.sampling.deltas import TokenReport
from decoder_svc.sampling.noise import SPREAD, gumbel
from decoder_svc.sampling.state import Additions, CountPenalties, SamplerState

FEW = 1024
"""Tokens that are sorted for top-p at first. The whole vocabulary is sorted if they weigh less than top-p."""


@dataclass(frozen=True, eq=False)
class _Parameters:
    """The parameters of the sampled rows as columns (rows, 1). Infinity switches a parameter off."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    keys: Tensor  # (rows, 2) int64, of the noise


@torch.inference_mode()
def sample(logits: Tensor, states: Sequence[SamplerState]) -> list[int]:
    """A token for each row of `logits` (rows, vocabulary), fp32. Overwrites `logits`. The caller passes each
    token to its state (`saw`), one request at a time.
    """
    reported = [row for row, state in enumerate(states) if state.sampling.logprobs]
    logprobs = logits[reported].log_softmax(-1) if reported else None
    _add(logits, [state.biases for state in states])
    for row, state in enumerate(states):
        if state.seen is not None:
            _penalise(logits[row], state.seen, state.sampling.repetition_penalty)
    _add(logits, [state.penalties for state in states])
    constrained = [row for row, state in enumerate(states) if state.grammar is not None]
    if constrained:
        logits[constrained] = _mask(logits[constrained], [states[row] for row in constrained])
    tokens: list[int] = logits.argmax(-1).tolist()
    drawn = [row for row, state in enumerate(states) if not state.sampling.is_greedy]
    if drawn:
        picked = _draw(logits[drawn], [states[row] for row in drawn])
        for row, token in zip(drawn, picked.tolist(), strict=True):
            tokens[row] = token
    if logprobs is not None:
        _report(logprobs, [states[row] for row in reported], [tokens[row] for row in reported])
    return tokens


def _report(logprobs: Tensor, states: Sequence[SamplerState], tokens: Sequence[int]) -> None:
    """Leave with each state what its request wants to know of its token."""
    chosen = torch.tensor(tokens, device=logprobs.device)
    values = logprobs.gather(-1, chosen[:, None])[:, 0].tolist()
    tops = _most_likely(logprobs, [state.sampling.top_logprobs for state in states])
    for state, value, top in zip(states, values, tops, strict=True):
        state.report = TokenReport(value, top)


def _most_likely(logprobs: Tensor, counts: Sequence[int]) -> list[tuple[tuple[int, float], ...]]:
    """So many tokens of each row, the most likely first, of equals the lower id first."""
    size = logprobs.shape[-1]
    most = min(max(counts), size)
    if not most:
        return [()] * len(counts)
    # No log-probability is above 0, so the bits of its magnitude order as integers; below them stands the id.
    keys = (logprobs.abs().view(torch.int32).long() << 32) | torch.arange(size, device=logprobs.device)
    ids = keys.topk(most, largest=False).values & 0xFFFFFFFF
    values = logprobs.gather(-1, ids)
    return [
        tuple(zip(row_ids[:count], row_values[:count], strict=True))
        for row_ids, row_values, count in zip(ids.tolist(), values.tolist(), counts, strict=True)
    ]


def _add(logits: Tensor, additions: Sequence[Additions | CountPenalties | None]) -> None:
    """Add to the logits of each row what its request says. Each token of a row occurs once."""
    some = [(row, addition) for row, addition in enumerate(additions) if addition is not None]
    if not some:
        return
    places = torch.from_numpy(np.concatenate([row * logits.shape[-1] + each.ids for row, each in some]))
    values = torch.from_numpy(np.concatenate([each.values for _, each in some]))
    logits.view(-1).index_add_(0, places.to(logits.device), values.to(logits.device))


def _mask(logits: Tensor, states: Sequence[SamplerState]) -> Tensor:
    """The rows without the tokens that their formats do not allow next."""
    size = logits.shape[-1]
    from decoder_svc.sampling.grammar import allowed  # only formats need llguidance

    words = torch.from_numpy(allowed([state.grammar for state in states if state.grammar], size))
    shifts = torch.arange(32, dtype=torch.int32, device=logits.device)
    bits = (words.to(logits.device)[:, :, None] >> shifts) & 1
    return logits.masked_fill(bits.flatten(1)[:, :size] == 0, -torch.inf)


def _penalise(logits: Tensor, seen: NDArray[np.bool_], penalty: float) -> None:
    mask = torch.from_numpy(seen).to(logits.device)
    weaker = torch.where(logits < 0, logits * penalty, logits / penalty)
    most = torch.finfo(logits.dtype).max  # the difference of two infinite logits is NaN
    logits.copy_(torch.where(mask, weaker.clamp_(-most, most), logits))


def _parameters(states: Sequence[SamplerState], device: torch.device) -> _Parameters:
    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

    each = [state.sampling for state in states]
    return _Parameters(
        column([s.temperature for s in each]),
        column([s.top_k or math.inf for s in each]),
        column([s.top_p if s.top_p < 1 else math.inf for s in each]),
        column([s.min_p for s in each]),
        torch.tensor([state.key() for state in states], dtype=torch.int64, device=device),
    )


def _draw(logits: Tensor, states: Sequence[SamplerState]) -> Tensor:
    """The token with the largest sum of score and noise among those that top-k, top-p and min-p leave.

    Scores are relative to the best, so that no temperature makes them overflow.
    """
    parameters = _parameters(states, logits.device)
    scores = (logits - logits.amax(-1, keepdim=True)) / parameters.temperature
    least = parameters.min_p.log()
    cut = [row for row, state in enumerate(states) if state.sampling.top_k or state.sampling.top_p < 1]
    if cut:
        few = max(FEW, *(state.sampling.top_k for state in states))
        kept = _least_kept(scores[cut], parameters.top_k[cut], parameters.top_p[cut], few)
        least[cut] = torch.maximum(least[cut], kept)
    rows, ids = ((scores >= least) & (scores >= -SPREAD)).nonzero(as_tuple=True)
    sums = torch.full_like(scores, -torch.inf)
    sums[rows, ids] = scores[rows, ids] + gumbel(parameters.keys[rows], ids)
    return sums.argmax(-1)


def _least_kept(scores: Tensor, top_k: Tensor, top_p: Tensor, few: int) -> Tensor:
    """(rows, 1): the score of the last token that top-k and top-p keep. Tokens with an equal score are kept
    too, because their order would be chance.

    Sorts the `few` best tokens, or all if those weigh less than top-p.
    """
    size = scores.shape[-1]
    ranked = scores.topk(min(few, size)).values
    ranked.masked_fill_(torch.arange(ranked.shape[-1], device=scores.device) >= top_k, -torch.inf)
    whole = torch.where(top_k < size, ranked.logsumexp(-1, True), scores.logsumexp(-1, True))
    probs = (ranked - whole).double().exp()
    kept = (probs.cumsum(-1) - probs < top_p) & (ranked > -torch.inf)
    if few < size and bool(kept[:, -1].any()):
        return _least_kept(scores, top_k, top_p, size)
    return ranked.gather(-1, (kept.sum(-1, keepdim=True) - 1).clamp_min(0))
