"""The forward pass: transformers' layers, with paged attention in their middle.

Takes a flat batch of tokens of many sequences and answers with logits. Knows no request, no image
and no sampling; positions, page slots and visual rows come in the batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from decoder_svc.core import RowShape
from decoder_svc.engine.attention import Attention
from decoder_svc.engine.batch import Batch
from decoder_svc.engine.checkpoint import Checkpoint
from decoder_svc.engine.kv import LayerPages, allocate_pages
from decoder_svc.engine.weights import Progress, load_text, split_layers


class TextDecoder:
    """A loaded text model and its head. Layer i lives on `devices[i]`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        devices: list[torch.device],
        attention: Attention,
        progress: Progress | None = None,
    ) -> None:
        self.config = checkpoint.config.text_config
        self.dtype = dtype
        self.devices = split_layers(self.config.num_hidden_layers, devices)
        self.layout = RowShape(self.config.hidden_size, checkpoint.levels)
        self._attention = attention
        self._text, self._head = load_text(checkpoint, dtype, self.devices, progress)
        self._pages: list[LayerPages] = []

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values that one token takes in all layers."""
        c = self.config
        return int(2 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim * self.dtype.itemsize)

    def allocate(self, blocks: int, block_size: int) -> None:
        c = self.config
        self._pages = allocate_pages(
            blocks, block_size, c.num_key_value_heads, c.head_dim, self.dtype, self.devices
        )

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        """Logits (samples, vocabulary) in fp32 after the tokens at `batch.sample_at`."""
        batch = batch.to(self.devices[0])
        hidden, deepstack = self._embed(batch)
        cos, sin = self._text.rotary_emb(hidden, batch.positions[:, None])
        rotary = (cos[0], sin[0])
        for i, layer in enumerate(self._text.layers):
            if hidden.device != self.devices[i]:  # the border between two GPUs
                hidden, deepstack = hidden.to(self.devices[i]), deepstack.to(self.devices[i])
                rotary = (rotary[0].to(self.devices[i]), rotary[1].to(self.devices[i]))
                batch = batch.to(self.devices[i])
            normed = layer.input_layernorm(hidden)
            hidden = hidden + self._attend(layer.self_attn, normed, rotary, batch, self._pages[i])
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden)[None])[0]
            if i < len(deepstack):
                hidden = hidden + deepstack[i]
        last = self._text.norm(hidden[batch.sample_at])
        return F.linear(last, self._head).float()

    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Token embeddings with visual rows in their places, and what deepstack adds: (levels,
        tokens, hidden), zero at the places of text; no level at all in a batch without images.
        """
        hidden: Tensor = self._text.embed_tokens(batch.token_ids)
        levels = self.layout.levels if batch.visual else 0
        deepstack = hidden.new_zeros(levels, *hidden.shape)
        for visual in batch.visual:
            rows = visual.rows.to(hidden.device, hidden.dtype)
            hidden[visual.place] = rows[:, 0]
            deepstack[:, visual.place] = rows[:, 1:].transpose(0, 1)
        return hidden, deepstack

    def _attend(
        self,
        layer: Any,
        hidden: Tensor,
        rotary: tuple[Tensor, Tensor],
        batch: Batch,
        pages: LayerPages,
    ) -> Tensor:
        heads = (len(hidden), -1, layer.head_dim)
        q = layer.q_norm(layer.q_proj(hidden).view(heads))
        k = layer.k_norm(layer.k_proj(hidden).view(heads))
        v = layer.v_proj(hidden).view(heads)
        q, k = apply_rotary_pos_emb(q, k, *rotary)
        pages.write(batch.slots, k, v)
        out = self._attention(q, pages, batch.attention, layer.scaling)
        projected: Tensor = layer.o_proj(out.flatten(1))
        return projected
