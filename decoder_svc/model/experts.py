"""The experts of a mixture, computed for the tokens that chose them.

Three methods with equal results: every expert for every token (few tokens on a CPU, where fewer calls win),
tokens sorted by expert (many tokens, or a GPU: no synchronisation, so it fits a CUDA graph), and the chosen
experts in turn (large or int8 experts on a CPU). Independent of layers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoder_svc.model.linear import Int8, Weight, dense, is_large, linear

FEW_TOKENS = 32  # with more tokens, arithmetic outweighs calls


class Experts:
    """`gate_up` (experts, 2 * inner, hidden) and `down` (experts, hidden, inner)."""

    def __init__(self, gate_up: Weight, down: Weight) -> None:
        self._gate_up, self._down = gate_up, down
        self._count = len(gate_up)
        self._ends = torch.arange(1, self._count + 1, device=gate_up.device)

    def __call__(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """`x` (tokens, hidden), experts `chosen` (tokens, k) and their `weights`."""
        on_cpu, choices = x.device.type == "cpu", chosen.numel()
        if isinstance(self._gate_up, Int8) and isinstance(self._down, Int8):
            if on_cpu:
                return self._in_turn(x, chosen, weights)
            if choices < self._count:
                return _gathered(x, chosen, weights, self._gate_up, self._down)
        elif on_cpu and is_large(self._gate_up):
            return self._in_turn(x, chosen, weights)
        gate_up, down = dense(self._gate_up, x.dtype), dense(self._down, x.dtype)
        if on_cpu and len(x) <= FEW_TOKENS and choices >= self._count:
            return _all(x, chosen, weights, gate_up, down)
        return self._sorted(x, chosen, weights, gate_up, down)

    def _sorted(self, x: Tensor, chosen: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        order = chosen.flatten().argsort()
        ends = torch.searchsorted(chosen.flatten()[order], self._ends, out_int32=True)
        inner = _gate(F.grouped_mm(x[order // chosen.shape[1]], gate_up.transpose(1, 2), offs=ends))
        out = F.grouped_mm(inner, down.transpose(1, 2), offs=ends)
        return _weighted(out[order.argsort()], weights)

    def _in_turn(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        order = chosen.flatten().argsort()
        rows = x[order // chosen.shape[1]]
        out, start = torch.empty_like(rows), 0
        for expert, count in enumerate(chosen.flatten().bincount(minlength=self._count).tolist()):
            if count:
                part = slice(start, start + count)
                inner = _gate(linear(rows[part], self._gate_up[expert]))
                out[part] = linear(inner, self._down[expert])
                start += count
        return _weighted(out[order.argsort()], weights)


def _all(x: Tensor, chosen: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    share = x.new_zeros(len(x), len(gate_up)).scatter_(1, chosen, weights)
    inner = _gate(F.linear(x, gate_up.flatten(0, 1)).view(len(x), len(gate_up), -1)) * share[:, :, None]
    return torch.bmm(inner.transpose(0, 1), down.transpose(1, 2)).sum(0)


def _gathered(x: Tensor, chosen: Tensor, weights: Tensor, gate_up: Int8, down: Int8) -> Tensor:
    picked = chosen.flatten()
    rows = x.repeat_interleave(chosen.shape[1], 0)[:, :, None]
    inner = _gate(torch.bmm(dense(gate_up[picked], x.dtype), rows)[:, :, 0])
    out = torch.bmm(dense(down[picked], x.dtype), inner[:, :, None])[:, :, 0]
    return _weighted(out, weights)


def _gate(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def _weighted(out: Tensor, weights: Tensor) -> Tensor:
    """(tokens * k, hidden) to (tokens, hidden)."""
    return (out.view(*weights.shape, -1) * weights[:, :, None]).sum(1)
