"""The vision tower's forward pass over a batch of images of any size, each with all or some of its cells.

Equals the forward of the vision model in `transformers` up to float rounding.
Independent of pixels, bytes and row dtypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder_svc.vision.attention import Packing, choose
from encoder_svc.vision.block import Block
from encoder_svc.vision.modules import VisionModel
from encoder_svc.vision.positions import PositionTables, axial_frequencies
from encoder_svc.vision.saliency import saliency
from fovea.contract.row_stream import GridIndices


@dataclass(frozen=True, eq=False)
class TowerImage:
    """`values` (patches, channels * frames * pixels) in cell order; `grid` (h, w) in patches."""

    values: Tensor
    grid: tuple[int, int]
    kept: GridIndices | None = None


@dataclass(frozen=True, eq=False)
class ForwardOutput:
    """`rows` (cells of all images, out width * (1 + levels)); `saliency` (patches,) if requested."""

    rows: Tensor
    saliency: Tensor | None


class StillPatchEmbed:
    """The patch embedding as a matrix product with the weights of the Conv3d that it replaces.

    Kernel and stride of that convolution are equal, so each patch meets the whole kernel once. The frames of
    a still are equal, so the weights are summed over frames beforehand, in float32 only, where the sum loses
    nothing.
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


class Forward:
    """Built from a vision model; `width` is the width of a level. Run it in inference mode."""

    def __init__(self, model: VisionModel) -> None:
        config, modules = model.config, cast(Any, model)  # a module's attributes carry no types
        self.device, self.dtype = model.pos_embed.weight.device, model.pos_embed.weight.dtype
        self._embed = StillPatchEmbed(modules.patch_embed.proj)
        self._positions = PositionTables(
            model.pos_embed.weight,
            axial_frequencies(config.hidden_size // config.num_heads).to(self.device),
            config.spatial_merge_size,
        )
        self._attend = choose(self.device, self.dtype)
        self._blocks = [Block(block, config.num_heads, config.hidden_act) for block in modules.blocks]
        # Maps each deepstack block to its level; level 0 follows the last block. Levels are in block order,
        # mergers in the order of the config.
        indexes = list(config.deepstack_visual_indexes)
        self._levels = {index: level for level, index in enumerate(sorted(indexes), 1)}
        deep = [modules.deepstack_merger_list[indexes.index(index)] for index in self._levels]
        self._mergers: list[Any] = [modules.merger, *deep]
        self._cell: int = config.spatial_merge_size**2
        self.width: int = modules.merger.linear_fc2.out_features
        self.blocks_computed = 0  # since the start; shows progress within a call

    def __call__(self, images: Sequence[TowerImage], salient: bool) -> ForwardOutput:
        """Images of equal patch count must be adjacent."""
        packing = Packing(tuple(len(image.values) for image in images), self.device)
        positions = [self._positions.of(*image.grid, image.kept) for image in images]
        rotations = _concatenated([position.rotations for position in positions])
        x = _concatenated([self._embed(image.values.to(self.device, self.dtype)) for image in images])
        x += _concatenated([position.added for position in positions])
        rows = x.new_empty(len(x) // self._cell, self.width * len(self._mergers))
        for index, block in enumerate(self._blocks):
            q, k, v = block.qkv(x, rotations)
            block.add(x, self._attend(q, k, v, packing))
            self.blocks_computed += 1
            if index in self._levels:
                self._merge(self._levels[index], x, rows)
        self._merge(0, x, rows)
        return ForwardOutput(rows, _saliencies(q, k, packing) if salient else None)

    def _merge(self, level: int, x: Tensor, rows: Tensor) -> None:
        rows[:, level * self.width : (level + 1) * self.width] = self._mergers[level](x)


def _saliencies(q: Tensor, k: Tensor, packing: Packing) -> Tensor:
    lengths = list(packing.lengths)
    images = zip(torch.split(q, lengths), torch.split(k, lengths), strict=True)
    return torch.cat([saliency(queries, keys) for queries, keys in images])


def _concatenated(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
