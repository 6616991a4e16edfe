"""The modules of the vision tower, under the names of the published tensors.

They hold the weights. `forward.py` computes with them, so only the mergers have a forward of their own.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fovea.architecture import Vision

EPS = 1e-6


class PatchEmbed(nn.Module):
    def __init__(self, config: Vision) -> None:
        super().__init__()
        kernel = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, kernel, stride=kernel)


class SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)


class FeedForward(nn.Module):
    def __init__(self, config: Vision) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)


class VisionBlock(nn.Module):
    def __init__(self, config: Vision) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=EPS)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=EPS)
        self.attn = SelfAttention(config.hidden_size)
        self.mlp = FeedForward(config)


class Merger(nn.Module):
    """The patches of a cell to a level of its row. `joined`: the norm spans the cell, as in deepstack."""

    def __init__(self, config: Vision, joined: bool) -> None:
        super().__init__()
        self._cell_width = config.hidden_size * config.spatial_merge_size**2
        self._norm_width = self._cell_width if joined else config.hidden_size
        self.norm = nn.LayerNorm(self._norm_width, eps=EPS)
        self.linear_fc1 = nn.Linear(self._cell_width, self._cell_width)
        self.linear_fc2 = nn.Linear(self._cell_width, config.out_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(patches, width) to (cells, out width)."""
        cells = self.norm(x.view(-1, self._norm_width)).view(-1, self._cell_width)
        rows: Tensor = self.linear_fc2(F.gelu(self.linear_fc1(cells)))
        return rows


class VisionModel(nn.Module):
    """Build it on the meta device and fill it: its own initial values mean nothing."""

    def __init__(self, config: Vision) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = Merger(config, joined=False)
        self.deepstack_merger_list = nn.ModuleList(
            Merger(config, joined=True) for _ in config.deepstack_visual_indexes
        )
