"""Angles of the rotary embedding over time, height and width: those of transformers, in few calls.

Which frequency turns by which of the three is read off the checkpoint's own module, once, and the result is
held against that module before it is used; where they differ, the module itself is asked every time. Knows no
layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine (tokens, 1, head_dim); the first half of the sine negated, for halves that were swapped."""

PROVED_TO = 1 << 17
"""Positions at which both were compared."""


class RotaryEmbedding:
    """Made of a module `(x, positions (3, batch, tokens)) -> cos, sin`; `fast` where it need not be asked."""

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
        return self._few(positions, like) if self.fast else self._asked(positions, like)

    def _asked(self, positions: Tensor, like: Tensor) -> Rotary:
        cos, sin = self._module(like, positions[:, None])
        half = sin.shape[-1] // 2
        return cos[0, :, None], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)[:, None]

    def _few(self, positions: Tensor, like: Tensor) -> Rotary:
        angles = positions[self._axis].T.float() * self._inverse
        cos, sin = angles.cos(), angles.sin()
        if self._scaling != 1.0:
            cos, sin = cos * self._scaling, sin * self._scaling
        cos, sin = cos.to(like.dtype), sin.to(like.dtype)
        return torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]

    def _axes(self) -> Tensor:
        """(frequencies,): which row of the positions turns each. At 0 a sine is 0, at 1 it never is."""
        one = torch.eye(3, dtype=torch.int64, device=self._inverse.device)
        _, sin = self._module(self._inverse.new_zeros(1), one[:, None])
        turned: Tensor = sin[0, :, : len(self._inverse)] != 0
        return turned.int().argmax(0)

    def _proved(self) -> bool:
        random = torch.Generator().manual_seed(0)
        positions = torch.randint(PROVED_TO, (3, 64), generator=random).to(self._inverse.device)
        pairs = zip(self._few(positions, self._inverse), self._asked(positions, self._inverse), strict=True)
        return all(one.shape == other.shape and torch.equal(one, other) for one, other in pairs)
