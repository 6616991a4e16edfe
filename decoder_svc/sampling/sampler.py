"""From logits to tokens, for a batch of requests that each sample in their own way.

Penalty, format, temperature, top-k, top-p, min-p, in the order of transformers' processors. A draw
spends one uniform number of the request's own generator and is resolved on the sorted probabilities
of its own row: who shares the batch has no say. Log-probabilities are those of the model itself,
before any of it, as OpenAI and vLLM report them: a format shows in them as surprise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.sampling.state import SamplerState


@dataclass(frozen=True, eq=False)
class _Knobs:
    """The knobs of the sampling rows as columns (rows, 1)."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    uniform: Tensor


@torch.inference_mode()
def sample(logits: Tensor, draws: Sequence[SamplerState]) -> list[int]:
    """One token a row of `logits` (rows, vocabulary), fp32; changes `logits`."""
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
        picked = _draw(logits[drawn], _knobs([draws[row] for row in drawn], logits.device))
        for row, token in zip(drawn, picked.tolist(), strict=True):
            tokens[row] = token
    for draw, token in zip(draws, tokens, strict=True):
        draw.saw(token)
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
    logits.copy_(torch.where(mask, weaker, logits))


def _knobs(draws: Sequence[SamplerState], device: torch.device) -> _Knobs:
    def column(values: list[float], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)[:, None]

    each = [draw.sampling for draw in draws]
    return _Knobs(
        column([s.temperature for s in each]),
        column([s.top_k or float("inf") for s in each]),
        column([s.top_p for s in each]),
        column([s.min_p for s in each]),
        column([draw.uniform() for draw in draws], torch.float64),
    )


def _draw(logits: Tensor, knobs: _Knobs) -> Tensor:
    """Sort, cut the tail, and take the token under which the uniform number falls."""
    ranked, order = (logits / knobs.temperature).sort(stable=True, dim=-1, descending=True)
    rank = torch.arange(ranked.shape[-1], device=ranked.device)
    ranked = ranked.masked_fill(rank >= knobs.top_k, -torch.inf)
    probs = ranked.softmax(-1)
    before = probs.cumsum(-1) - probs
    cut = (before >= knobs.top_p) | (probs < knobs.min_p * probs[:, :1]) | (probs == 0)
    cut[:, 0] = False
    mass = probs.masked_fill(cut, 0.0).double().cumsum(-1)
    # `right` steps over tokens without mass; the last place is never past the kept ones.
    place = torch.searchsorted(mass, knobs.uniform * mass[:, -1:], right=True)
    place = torch.minimum(place, (~cut).sum(-1, keepdim=True) - 1)
    tokens: Tensor = order.gather(-1, place)[:, 0]
    return tokens
