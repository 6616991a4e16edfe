"""The rotary embedding over time, height and width: the angles of transformers, in few calls.

The axis of each frequency is read off the checkpoint's module once, and the result is compared with that
module before use. If they differ, the module computes the angles of every step. Independent of layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine (tokens, 1, head_dim). The first half of the sine is negated, for swapped halves."""

PROVED_TO = 1 << 17
"""The comparison covers positions below this number."""


class RotaryEmbedding:
    """From a module `(x, positions (3, batch, tokens)) -> cos, sin`. `fast` if the module is not called."""

    @torch.inference_mode()
    def __init__(self, module: Any) -> None:
        self._module = module
        self._inverse: Tensor = module.inv_freq.float()
        self._scaling = float(getattr(module, "attention_scaling", 1.0))
        self._axis = self._axes()
        self.fast = self._proved()

    @torch.inference_mode()
    def __call__(self, positions: Tensor, like: Tensor) -> Rotary:
        """`positions` (3, tokens) int64, in the dtype of `like`."""
        return self._computed(positions, like) if self.fast else self._expected(positions, like)

    def _expected(self, positions: Tensor, like: Tensor) -> Rotary:
        cos, sin = self._module(like, positions[:, None])
        half = sin.shape[-1] // 2
        return cos[0, :, None], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)[:, None]

    def _computed(self, positions: Tensor, like: Tensor) -> Rotary:
        angles = positions[self._axis].T.float() * self._inverse
        cos, sin = angles.cos(), angles.sin()
        if self._scaling != 1.0:
            cos, sin = cos * self._scaling, sin * self._scaling
        cos, sin = cos.to(like.dtype), sin.to(like.dtype)
        return torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]

    def _axes(self) -> Tensor:
        """(frequencies,): the axis of each frequency. Position 1 on it makes the sine differ from 0."""
        unit = torch.eye(3, dtype=torch.int64, device=self._inverse.device)
        _, sin = self._module(self._inverse.new_zeros(1), unit[:, None])
        rotates: Tensor = sin[0, :, : len(self._inverse)] != 0
        return rotates.int().argmax(0)

    def _proved(self) -> bool:
        random = torch.Generator().manual_seed(0)
        positions = torch.randint(PROVED_TO, (3, 64), generator=random).to(self._inverse.device)
        like = self._inverse
        pairs = zip(self._computed(positions, like), self._expected(positions, like), strict=True)
        return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
