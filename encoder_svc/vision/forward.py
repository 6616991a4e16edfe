"""The vision tower's forward over a batch of images of any sizes, each with all its cells or some of them.

Works on the weights of a `transformers` Qwen3-VL vision model and equals its forward up to float rounding.
Knows no pixels, no bytes and no dtype of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from encoder_svc.vision.attention import Packing, choose
from encoder_svc.vision.block import Block
from encoder_svc.vision.positions import Positions, PositionTables
from encoder_svc.vision.saliency import saliency

CPU_SLICE = 256
"""Patches a thread that go through a layer's products at once on a CPU: measured best of 128 to 2048."""


class StillPatchEmbed:
    """The patch embedding as one matrix product with the weights of the Conv3d that it replaces.

    Kernel and stride of that convolution are equal, so each patch meets the whole kernel once. The frames of
    a still are equal, so in float32, where their sum loses nothing, its weights are added up beforehand.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        weight = convolution.weight.flatten(3)  # (width, channels, frames, pixels)
        self._frames = weight.shape[2]
        self._weight = weight.sum(2, keepdim=True) if weight.dtype is torch.float32 else weight
        self._bias: Any = convolution.bias

    def __call__(self, values: Tensor) -> Tensor:
        _, channels, used, pixels = self._weight.shape
        frames = values.view(-1, channels, self._frames, pixels)[:, :, :used]
        return F.linear(frames.flatten(1), self._weight.flatten(1), self._bias)


@dataclass(frozen=True, eq=False)
class Output:
    """`rows` (cells of all images, out width * (1 + levels)); `saliency` (patches,) where asked for."""

    rows: Tensor
    saliency: Tensor | None


class Forward:
    """Made of a vision model; `width` is that of a level of a row. Run it in inference mode."""

    def __init__(self, model: PreTrainedModel) -> None:
        config: Any = model.config
        modules: Any = model
        self.device: torch.device = model.device
        self._embed = StillPatchEmbed(modules.patch_embed.proj)
        self._positions = PositionTables(
            modules.pos_embed.weight, modules.rotary_pos_emb.inv_freq, config.spatial_merge_size
        )
        self._attend = choose(config._attn_implementation)
        self._blocks = [Block(block, config.num_heads, config.hidden_act) for block in modules.blocks]
        self._mergers: list[Any] = [modules.merger, *modules.deepstack_merger_list]
        # Which part of a row comes out of which block; a level may be computed from any of them.
        self._levels = {place: level for level, place in enumerate(config.deepstack_visual_indexes, 1)}
        self._cell: int = config.spatial_merge_size**2
        self.width: int = modules.merger.linear_fc2.out_features

    def positions(self, height: int, width: int, kept: Any = None) -> Positions:
        return self._positions.of(height, width, kept)

    def __call__(
        self, values: Tensor, positions: Sequence[Positions], lengths: Sequence[int], salient: bool = False
    ) -> Output:
        """`values` (patches, channels * frames * pixels), those of equal `lengths` side by side."""
        packing = Packing(tuple(lengths), self.device)
        slices = list(self._slices(packing.patches))
        turns = _joined([one.turns for one in positions])
        x = torch.cat([self._embed(values[rows]) for rows in slices]).add_(
            _joined([one.added for one in positions])
        )
        rows = x.new_empty(len(x) // self._cell, self.width * len(self._mergers))
        found: Tensor | None = None
        for place, block in enumerate(self._blocks):
            q, k, v = block.qkv(x, turns, slices)
            block.add(x, self._attend(q, k, v, packing), slices)
            if place in self._levels:
                self._merge(self._levels[place], x, rows, slices)
            if salient and place == len(self._blocks) - 1:
                found = _saliencies(q, k, packing)
        self._merge(0, x, rows, slices)
        return Output(rows, found)

    def _merge(self, level: int, x: Tensor, rows: Tensor, slices: Sequence[slice]) -> None:
        columns = slice(level * self.width, (level + 1) * self.width)
        merger, cell = self._mergers[level], self._cell
        for part in slices:
            rows[part.start // cell : part.stop // cell, columns] = merger(x[part])

    def _slices(self, patches: int) -> Iterator[slice]:
        """Whole cells each."""
        step = CPU_SLICE * torch.get_num_threads() if self.device.type == "cpu" else patches
        for start in range(0, patches, step):
            yield slice(start, min(start + step, patches))


def _saliencies(q: Tensor, k: Tensor, packing: Packing) -> Tensor:
    images = zip(q.split(packing.lengths), k.split(packing.lengths), strict=True)
    return torch.cat([saliency(queries, keys) for queries, keys in images])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
