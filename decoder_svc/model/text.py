"""The forward pass, with paged attention.

Takes a flat batch of tokens of many sequences and returns logits. Positions, page slots and visual rows come
with the batch. Independent of requests, images and sampling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoder_svc.engine.protocol import Quantization
from decoder_svc.model.attention import Attention
from decoder_svc.model.batch import Batch, Output
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.finite import are_finite
from decoder_svc.model.layer import Layer
from decoder_svc.model.linear import linear
from decoder_svc.model.load import Progress, load_text, split_layers
from decoder_svc.model.pages import LayerPages, allocate_pages
from decoder_svc.model.rotary import RotaryEmbedding
from decoder_svc.model.unpack import unpack


class TextDecoder:
    """A loaded text model and its head. Layer i lives on `devices[i]`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        devices: list[torch.device],
        attention: Attention,
        quantization: Quantization = "none",
        progress: Progress | None = None,
    ) -> None:
        self.config = checkpoint.architecture.text_config
        self.dtype = dtype
        self.devices = split_layers(self.config.num_hidden_layers, devices)
        self.shape = checkpoint.model_shape
        weights = load_text(checkpoint, dtype, self.devices, quantization, progress)
        self.text, self._head = weights.text, weights.head
        self._rotary = RotaryEmbedding(self.config, self.devices[0])
        self._layers = [Layer(weights, i, attention) for i in range(len(self.devices))]
        self._pages: list[LayerPages] = []
        self.layers_computed = 0  # since the start; shows progress within a step

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values of a token in all layers."""
        c = self.config
        return int(2 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim * self.dtype.itemsize)

    def allocate(self, blocks: int, block_size: int) -> None:
        c = self.config
        self._pages = allocate_pages(
            blocks, block_size, c.num_key_value_heads, c.head_dim, self.dtype, self.devices
        )

    @torch.inference_mode()
    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy keys and values of the first tokens of a block to another block, in every layer."""
        for pages in self._pages:
            pages.kv[target, :tokens] = pages.kv[source, :tokens]

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Output:
        """Logits after the tokens at `batch.sample_at`, and which tokens are finite."""
        batch = batch.to(self.devices[0])
        hidden, deepstack = self._embed(batch)
        rotary = self._rotary(batch.positions, hidden)
        for i, layer in enumerate(self._layers):
            if hidden.device != self.devices[i]:  # the next GPU
                hidden, deepstack = hidden.to(self.devices[i]), deepstack.to(self.devices[i])
                rotary = (rotary[0].to(self.devices[i]), rotary[1].to(self.devices[i]))
                batch = batch.to(self.devices[i])
            hidden = layer(hidden, rotary, batch.slots, self._pages[i], batch.attention)
            self.layers_computed += 1
            if i < len(deepstack):
                hidden = hidden + deepstack[i]
        last = self.text.norm(hidden[batch.sample_at])
        logits = linear(last, self._head).float()
        finite = are_finite(hidden)
        finite[batch.sample_at] &= are_finite(logits)
        return Output(logits, finite)

    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Token embeddings with visual rows inserted, and the deepstack features (levels, tokens, hidden):
        zero for text, without levels in a batch without images.
        """
        hidden: Tensor = F.embedding(batch.token_ids, self.text.embed_tokens.weight)
        levels = self.shape.levels if batch.visual else 0
        deepstack = hidden.new_zeros(levels, *hidden.shape)
        for visual in batch.visual:
            rows = unpack(visual.data.to(hidden.device), visual.layout, hidden.dtype)
            hidden[visual.span] = rows[:, 0]
            deepstack[:, visual.span] = rows[:, 1:].transpose(0, 1)
        return hidden, deepstack
