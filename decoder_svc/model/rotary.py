"""The rotary embedding over time, height and width, interleaved.

Angles equal those of transformers bit by bit. Independent of layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fovea.architecture import Rope, TextConfig

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine (tokens, 1, head_dim). The first half of the sine is negated, for swapped halves."""


class RotaryEmbedding:
    def __init__(self, config: TextConfig, device: torch.device) -> None:
        rope = config.rope_parameters
        self._inverse = _frequencies(config).to(device)
        self._scaling = _attention_factor(rope) if rope.rope_type == "yarn" else 1.0
        self._axis = _axes(rope.mrope_section).to(device)

    @torch.inference_mode()
    def __call__(self, positions: Tensor, like: Tensor) -> Rotary:
        """`positions` (3, tokens) int64, in the dtype of `like`."""
        angles = positions[self._axis].T.float() * self._inverse
        cos, sin = angles.cos(), angles.sin()
        if self._scaling != 1.0:
            cos, sin = cos * self._scaling, sin * self._scaling
        cos, sin = cos.to(like.dtype), sin.to(like.dtype)
        return torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]


def _axes(section: tuple[int, int, int]) -> Tensor:
    """(frequencies,): the axis of each frequency. Height and width take every third, time takes the rest."""
    axes = torch.zeros(sum(section), dtype=torch.int64)
    for axis in (1, 2):
        axes[axis : 3 * section[axis] : 3] = axis
    return axes


def _frequencies(config: TextConfig) -> Tensor:
    """(head_dim / 2,) float32."""
    rope, size = config.rope_parameters, config.head_dim
    periods: Tensor = config.theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    if rope.rope_type == "default":
        return 1.0 / periods
    kept = 1 - _stretched(config)
    return 1.0 / (_factor(rope) * periods) * (1 - kept) + 1.0 / periods * kept


def _stretched(config: TextConfig) -> Tensor:
    """YaRN (arXiv 2309.00071): from 0 for a frequency that turns `beta_fast` times in the context of the
    training, to 1 for one that turns `beta_slow` times.
    """
    rope, size, theta = config.rope_parameters, config.head_dim, config.theta
    trained = rope.original_max_position_embeddings or config.max_position_embeddings

    def place(turns: float) -> float:
        return size * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = place(rope.beta_fast or 32.0), place(rope.beta_slow or 1.0)
    if rope.truncate is not False:
        low, high = float(math.floor(low)), float(math.ceil(high))
    low, high = max(low, 0.0), min(high, size - 1.0)
    span = high - low or 0.001  # no division by zero
    return ((torch.arange(size // 2, dtype=torch.float32) - low) / span).clamp(0, 1)


def _factor(rope: Rope) -> float:
    """How many times longer than in training the context is."""
    return rope.factor or 1.0


def _attention_factor(rope: Rope) -> float:
    """What YaRN multiplies cosines and sines by."""

    factor = _factor(rope)

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return scale(rope.mscale) / scale(rope.mscale_all_dim)
    return scale(1.0)
