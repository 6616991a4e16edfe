"""The text model's forward for training: many questions behind one picture, each blind to the others.

The picture's prefix is computed once; every question sees the prefix and itself, at the M-RoPE positions
it would have alone.
All experts are computed and weighted (zero where the router did not choose them): the same sum, without a
gather. Works on the
modules of a transformers Qwen3-VL-MoE or Qwen3-VL text model and equals its forward up to float rounding (a test
holds that).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from standin.tower import rotate_half

HEAD = 4  # <|im_start|> user \n <|vision_start|>


@dataclass(frozen=True)
class Looks:
    """Where the questions' tokens look in one layer, mean over the heads.

    `rows` (B, questions, length, visual tokens), `own` (B, questions, length, length): at its own tokens.
    """

    rows: Tensor
    own: Tensor


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    A picture of rows x cols visual tokens, then `count` questions of `length` tokens.
    """

    rows: int
    cols: int
    count: int
    length: int

    @property
    def visual(self) -> slice:
        return slice(HEAD, HEAD + self.rows * self.cols)

    @property
    def prefix(self) -> int:
        return HEAD + self.rows * self.cols + 1

    def positions(self) -> Tensor:
        """(3, sequence) M-RoPE positions.

        Text counts on, the picture spans its grid, each question starts again after it.
        """
        text = torch.arange(HEAD).expand(3, -1)
        row = torch.arange(self.rows).repeat_interleave(self.cols)
        col = torch.arange(self.cols).repeat(self.rows)
        picture = HEAD + torch.stack([torch.zeros_like(row), row, col])
        after = HEAD + max(self.rows, self.cols)
        question = (after + 1 + torch.arange(self.length)).repeat(self.count).expand(3, -1)
        return torch.cat([text, picture, torch.full((3, 1), after), question], dim=1)


def mrope(positions: Tensor, head_dim: int, theta: float, section: list[int]) -> tuple[Tensor, Tensor]:
    """cos and sin, (sequence, head_dim), of the interleaved M-RoPE."""
    inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = positions[..., None].float() * inverse
    angle = angles[0].clone()
    for axis in (1, 2):
        chosen = slice(axis, section[axis] * 3, 3)
        angle[:, chosen] = angles[axis][:, chosen]
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def text_hidden(
    text: nn.Module, embeds: Tensor, deepstack: list[Tensor], layout: Layout, kept: Tensor | None
) -> tuple[Tensor, Tensor, list[Looks]]:
    """(B, sequence, H) embeddings and (B, tokens, H) deepstack rows to last hidden state, balance loss, looks.

    The looks are those of every layer. `kept` (B, tokens) marks visual rows that were not dropped; no other token attends to a dropped row.
    """
    rope = text.config.rope_parameters
    cos, sin = mrope(layout.positions(), text.config.head_dim, rope["rope_theta"], rope["mrope_section"])
    masks = _masks(layout, kept)
    x, balance, looks = embeds, embeds.new_zeros(()), []
    for place, layer in enumerate(text.layers):
        attended, looked = _attend(layer.self_attn, layer.input_layernorm(x), cos, sin, layout, masks)
        x = x + attended
        looks.append(looked)
        mixed, uneven = _mixed(layer.mlp, layer.post_attention_layernorm(x))
        x, balance = x + mixed, balance + uneven
        if place < len(deepstack):
            x = torch.cat(
                [x[:, :HEAD], x[:, layout.visual] + deepstack[place], x[:, layout.prefix - 1 :]], dim=1
            )
    return text.norm(x), balance / len(text.layers), looks


def _masks(layout: Layout, kept: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Additive masks: prefix on itself, questions on the prefix, a question on itself."""
    never = float("-inf")
    own = torch.full((layout.length, layout.length), never).triu(1)
    prefix = torch.full((layout.prefix, layout.prefix), never).triu(1)[None, None]
    cross = torch.zeros(1, 1, 1, layout.prefix)
    if kept is not None:
        cross = torch.zeros(len(kept), 1, 1, layout.prefix)
        cross[:, 0, 0, layout.visual].masked_fill_(~kept, never)
        # A dropped row still sees itself, so that its softmax stays finite; no token reads it.
        diagonal = torch.eye(layout.prefix, dtype=torch.bool)
        prefix = torch.where(diagonal, torch.zeros(()), prefix + cross)
    return prefix, cross, own


def _attend(
    attn: nn.Module, x: Tensor, cos: Tensor, sin: Tensor, layout: Layout, masks: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Looks]:
    count, length, _ = x.shape
    shape = (count, length, -1, attn.head_dim)
    q = attn.q_norm(attn.q_proj(x).view(shape)).transpose(1, 2)
    k = attn.k_norm(attn.k_proj(x).view(shape)).transpose(1, 2)
    v = attn.v_proj(x).view(shape).transpose(1, 2)
    q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
    groups = attn.num_key_value_groups
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    cut = layout.prefix
    prefix, cross, own = masks
    seen = F.scaled_dot_product_attention(q[:, :, :cut], k[:, :, :cut], v[:, :, :cut], prefix)
    asked, looks = _questions_attend(q[:, :, cut:] * attn.scaling, k, v, layout, cross, own)
    mixed = torch.cat([seen, asked], dim=2)
    return attn.o_proj(mixed.transpose(1, 2).reshape(count, length, -1)), looks


def _questions_attend(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, cross: Tensor, own: Tensor
) -> tuple[Tensor, Looks]:
    """Attention of every question over the shared prefix and over itself, one softmax over both."""
    count, heads, _, dim = q.shape
    cut, apart = layout.prefix, (count, heads, layout.count, layout.length, dim)
    over_prefix = q @ k[:, :, :cut].transpose(2, 3) + cross
    over_self = q.view(apart) @ k[:, :, cut:].reshape(apart).transpose(3, 4) + own
    scores = torch.cat([over_prefix, over_self.reshape(count, heads, -1, layout.length)], dim=-1)
    weights = scores.softmax(dim=-1)
    over_prefix, over_self = weights[..., :cut], weights[..., cut:].view(*apart[:-1], layout.length)
    mixed = over_prefix @ v[:, :, :cut] + (over_self @ v[:, :, cut:].reshape(apart)).reshape(
        count, heads, -1, dim
    )
    rows = over_prefix[..., layout.visual].mean(dim=1)
    return mixed, Looks(rows.view(count, layout.count, layout.length, -1), over_self.mean(dim=1))


def _mixed(mlp: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's output, and how unevenly its router chose; a dense layer has no router."""
    return _experts(mlp, x) if hasattr(mlp, "experts") else (mlp(x), x.new_zeros(()))


def _experts(mlp: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The sparse block as two plain matrix products, and how unevenly its router chose (1 is even)."""
    experts, gate = mlp.experts, mlp.gate
    many, double, width = experts.gate_up_proj.shape
    chances = F.linear(x, gate.weight).softmax(dim=-1)
    best, chosen = chances.topk(gate.top_k, dim=-1)
    best = best / best.sum(dim=-1, keepdim=True)
    weights = torch.zeros_like(chances).scatter(-1, chosen, best)
    both = F.linear(x, experts.gate_up_proj.reshape(-1, width)).view(*x.shape[:-1], many, 2, double // 2)
    inner = F.silu(both[..., 0, :]) * both[..., 1, :] * weights[..., None]
    out = F.linear(inner.flatten(-2), experts.down_proj.permute(1, 0, 2).reshape(width, -1))
    share = (weights > 0).float().mean(dim=(0, 1)) / gate.top_k
    return out, many * (share * chances.mean(dim=(0, 1))).sum()
