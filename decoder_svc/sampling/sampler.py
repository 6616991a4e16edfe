"""From logits to tokens, for a batch of requests that each sample in their own way.

Penalty, format, temperature, top-k, top-p, min-p, in the order of transformers' processors. A draw adds the
request's own noise (`noise`) to the logits that are left and takes the largest, so the rest of the batch has
no say. Log-probabilities are those of the model itself, before any of it, as OpenAI and vLLM report them: a
format shows in them as surprise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.sampling.noise import SPREAD, gumbel
from decoder_svc.sampling.state import SamplerState

FEW = 1024
"""Tokens that are sorted for top-p first; the whole vocabulary only where they weigh less than top-p."""


@dataclass(frozen=True, eq=False)
class _Knobs:
    """The parameters of the sampled rows as columns (rows, 1). Infinity is off."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    keys: Tensor  # (rows, 2) int64, of the noise


@torch.inference_mode()
def sample(logits: Tensor, draws: Sequence[SamplerState]) -> list[int]:
    """One token a row of `logits` (rows, vocabulary), fp32; changes `logits`. Whoever takes a token tells its
    draw (`saw`), one request at a time.
    """
    told = [row for row, draw in enumerate(draws) if draw.sampling.logprobs]
    known = logits[told].log_softmax(-1) if told else None
    for row, draw in enumerate(draws):
        if draw.seen is not None:
            _penalise(logits[row], draw.seen, draw.sampling.repetition_penalty)
    held = [row for row, draw in enumerate(draws) if draw.grammar is not None]
    if held:
        logits[held] = _hold(logits[held], [draws[row] for row in held])
    tokens: list[int] = logits.argmax(-1).tolist()
    drawn = [row for row, draw in enumerate(draws) if not draw.is_greedy]
    if drawn:
        picked = _draw(logits[drawn], [draws[row] for row in drawn])
        for row, token in zip(drawn, picked.tolist(), strict=True):
            tokens[row] = token
    if known is not None:
        _tell(known, [draws[row] for row in told], [tokens[row] for row in told])
    return tokens


def _hold(logits: Tensor, draws: Sequence[SamplerState]) -> Tensor:
    """The rows without the tokens that their formats do not allow next."""
    size = logits.shape[-1]
    from decoder_svc.sampling.grammar import allowed  # only who asks for a format needs llguidance

    words = torch.from_numpy(allowed([draw.grammar for draw in draws if draw.grammar], size))
    places = torch.arange(32, dtype=torch.int32, device=logits.device)
    bits = (words.to(logits.device)[:, :, None] >> places) & 1
    return logits.masked_fill(bits.flatten(1)[:, :size] == 0, -torch.inf)


def _tell(known: Tensor, draws: Sequence[SamplerState], tokens: Sequence[int]) -> None:
    chosen = known.gather(-1, torch.tensor(tokens, device=known.device)[:, None])[:, 0]
    for draw, value in zip(draws, chosen.tolist(), strict=True):
        draw.logprobs = (value,)


def _penalise(logits: Tensor, seen: NDArray[np.bool_], penalty: float) -> None:
    mask = torch.from_numpy(seen).to(logits.device)
    weaker = torch.where(logits < 0, logits * penalty, logits / penalty)
    most = torch.finfo(logits.dtype).max  # an infinite logit has no distance from another one
    logits.copy_(torch.where(mask, weaker.clamp_(-most, most), logits))


def _knobs(draws: Sequence[SamplerState], device: torch.device) -> _Knobs:
    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

    each = [draw.sampling for draw in draws]
    return _Knobs(
        column([s.temperature for s in each]),
        column([s.top_k or math.inf for s in each]),
        column([s.top_p if s.top_p < 1 else math.inf for s in each]),
        column([s.min_p for s in each]),
        torch.tensor([draw.key() for draw in draws], dtype=torch.int64, device=device),
    )


def _draw(logits: Tensor, draws: Sequence[SamplerState]) -> Tensor:
    """The token with the largest sum of score and noise, of those that top-k, top-p and min-p leave.

    Scores are relative to the best, so that no temperature makes them overflow.
    """
    knobs = _knobs(draws, logits.device)
    scores = (logits - logits.amax(-1, keepdim=True)) / knobs.temperature
    least = knobs.min_p.log()
    cut = [row for row, draw in enumerate(draws) if draw.sampling.top_k or draw.sampling.top_p < 1]
    if cut:
        few = max(FEW, *(draw.sampling.top_k for draw in draws))
        kept = _least_kept(scores[cut], knobs.top_k[cut], knobs.top_p[cut], few)
        least[cut] = torch.maximum(least[cut], kept)
    rows, ids = ((scores >= least) & (scores >= -SPREAD)).nonzero(as_tuple=True)
    sums = torch.full_like(scores, -torch.inf)
    sums[rows, ids] = scores[rows, ids] + gumbel(knobs.keys[rows], ids)
    return sums.argmax(-1)


def _least_kept(scores: Tensor, top_k: Tensor, top_p: Tensor, few: int) -> Tensor:
    """(rows, 1): the score of the last token that top-k and top-p keep. Its equals are kept, too: which of
    them is counted first would be chance.

    Sorts the `few` best, and all where those weigh less than top-p.
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
