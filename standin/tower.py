"""The vision tower's forward for training: pictures of one size, the patch convolution as a linear map.

Works on the modules of a transformers Qwen3-VL tower and equals its forward up to float rounding (a test
holds that).
Independent of text and files.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from standin.labels import block_order


def rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


@lru_cache(maxsize=64)
def _rotary(rows: int, cols: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """cos and sin, (patches, head_dim), of the axial rotary embedding with base 10000."""
    order = torch.from_numpy(block_order(rows, cols))
    inverse = 1.0 / 10000.0 ** (torch.arange(0, head_dim // 2, 2).float() / (head_dim // 2))
    angle_h = (order // cols)[:, None].float() * inverse
    angle_w = (order % cols)[:, None].float() * inverse
    angle = torch.cat([angle_h, angle_w, angle_h, angle_w], dim=-1)
    return angle.cos(), angle.sin()


@lru_cache(maxsize=64)
def _interpolation(rows: int, cols: int, side: int) -> Tensor:
    """(patches, side * side) bilinear weights that resample the learned grid, corners aligned."""
    along_h, along_w = _hat(rows, side), _hat(cols, side)
    weights = torch.einsum("ra,cb->rcab", along_h, along_w).reshape(rows * cols, side * side)
    return weights[torch.from_numpy(block_order(rows, cols))]


def _hat(count: int, side: int) -> Tensor:
    place = torch.linspace(0, side - 1, count)[:, None]
    return (1 - (place - torch.arange(side)).abs()).clamp(min=0)


def patches_of(pictures: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) pictures to float (B, patches, 768) in block order, values in [-1, 1]."""
    count, height, width, _ = pictures.shape
    x = pictures.reshape(count, height // 32, 2, 16, width // 32, 2, 16, 3)
    x = x.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(count, (height // 16) * (width // 16), 768)
    return x.float().div_(127.5).sub_(1.0)


def tower_rows(
    visual: nn.Module, patches: Tensor, rows: int, cols: int, there: Tensor | None = None
) -> list[Tensor]:
    """(B, patches, 768) to the visual rows of every level.

    [pooled, deepstack...], each (B, tokens, out). `there` (B, tokens): patches of the others are not looked at,
    as if they had been left out; their own rows mean nothing.
    """
    return _tower(visual, patches, rows, cols, there)[0]


def tower_seen(
    visual: nn.Module, patches: Tensor, rows: int, cols: int, there: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """The rows, and the attention (B, tokens) that each square got in the last block, without a gradient."""
    levels, q, k, mask = _tower(visual, patches, rows, cols, there)
    return levels, _attention(q, k, mask)


def _tower(
    visual: nn.Module, patches: Tensor, rows: int, cols: int, there: Tensor | None
) -> tuple[list[Tensor], Tensor, Tensor, Tensor | None]:
    """The rows, and queries, keys and mask of the last block."""
    weight = visual.patch_embed.proj.weight.sum(2).flatten(1)  # both frames of a still are the same
    side = visual.num_grid_per_side
    x = F.linear(patches, weight, visual.patch_embed.proj.bias)
    x = x + _interpolation(rows, cols, side) @ visual.pos_embed.weight
    heads = visual.config.num_heads
    cos, sin = _rotary(rows, cols, x.shape[-1] // heads)
    mask = None if there is None else there.repeat_interleave(4, dim=1)[:, None, None, :]
    levels = []
    for place, block in enumerate(visual.blocks):
        x, q, k = _block(block, x, heads, cos, sin, mask)
        if place in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(place)]
            levels.append(_merge(merger, x))
    return [_merge(visual.merger, x), *levels], q, k, mask


@torch.no_grad()
def _attention(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """What each token's patches get from all patches that are there, mean over heads."""
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    given = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
    given = given if mask is None else given * mask.transpose(2, 3)
    return given.sum(2).mean(1).unflatten(-1, (-1, 4)).sum(-1)


def _block(
    block: nn.Module, x: Tensor, heads: int, cos: Tensor, sin: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, and the rotated queries and keys, (B, heads, patches, head_dim) each."""
    count, length, width = x.shape
    qkv = block.attn.qkv(block.norm1(x)).view(count, length, 3, heads, width // heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    x = x + block.attn.proj(mixed.transpose(1, 2).reshape(count, length, width))
    return x + block.mlp(block.norm2(x)), q, k


def _merge(merger: nn.Module, x: Tensor) -> Tensor:
    count, length, width = x.shape
    if merger.use_postshuffle_norm:
        x = merger.norm(x.reshape(count, length // 4, width * 4))
    else:
        x = merger.norm(x).reshape(count, length // 4, width * 4)
    return merger.linear_fc2(merger.act_fn(merger.linear_fc1(x)))
