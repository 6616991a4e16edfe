"""A checkpoint of random weights, drawn on the device when they are read.

It replaces a checkpoint folder of 58 GiB: the folder holds the config and the tokenizer of the stand-in.
Every tensor is drawn from a generator seeded by its name, with the scale of a trained tensor, so that
different prompts give different tokens. A drawn tensor is kept and returned as the same memory, so engine,
tower and reference share it unless they convert it. Layouts are those of the modules.
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

from decoder_svc.model.checkpoint import Checkpoint
from standin import model_dir


class RandomCheckpoint(Checkpoint):
    """`read` gives tensors on `device` in `dtype`. `folder` is written to."""

    def __init__(
        self, folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype, seed: int = 0
    ) -> None:
        _write(folder, config)
        super().__init__(folder)
        self.device = device
        self.dtype = dtype
        self._seed = seed
        self._made: dict[str, Tensor] = {}

    @cached_property
    def config(self) -> Qwen3VLMoeConfig:
        """The config object of transformers."""
        return Qwen3VLMoeConfig.from_pretrained(self.folder)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter of the model, by its published name."""
        with torch.device("meta"):
            whole = Qwen3VLMoeForConditionalGeneration(self.config)
        return {name: tuple(parameter.shape) for name, parameter in whole.named_parameters()}

    @cached_property
    def files(self) -> dict[str, str]:
        return dict.fromkeys(self.shapes, "")

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def read(self, name: str) -> Tensor:
        if name not in self._made:
            self._made[name] = self._draw(name)
        return self._made[name]

    def fill(self, module: nn.Module, prefix: str) -> None:
        """Replace every parameter of a module by its tensor; no memory is copied."""
        for name, _ in list(module.named_parameters()):
            owner, _, leaf = name.rpartition(".")
            parameter = nn.Parameter(self.read(prefix + name), requires_grad=False)
            setattr(module.get_submodule(owner), leaf, parameter)

    def _draw(self, name: str) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(zlib.crc32(f"{self._seed}:{name}".encode()))
        values = torch.empty(self.shapes[name], device=self.device, dtype=self.dtype)
        mean, deviation = _scale(name, self.shapes[name])
        return values.normal_(generator=generator).mul_(deviation).add_(mean)


def _scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """The mean and the deviation that a trained tensor has, so that tokens depend on the context."""
    if "q_norm" in name or "k_norm" in name:  # sharp attention, which depends on positions
        return 2.0, 0.2
    if "norm" in name and name.endswith("weight"):
        return 1.0, 0.1
    if name.endswith("bias") or "embed_tokens" in name:
        return 0.0, 0.1
    if "pos_embed" in name:
        return 0.0, 0.5
    inputs = shape[-1] if "experts." in name else math.prod(shape[1:])
    gain = 3.0 if "o_proj" in name else 1.0  # more from the context than from the last token
    return 0.0, gain / math.sqrt(inputs)


def _write(folder: Path, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(model_dir() / "tokenizer.json", folder / "tokenizer.json")
