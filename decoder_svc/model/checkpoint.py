"""The language half of a published checkpoint: its config, its end tokens, its tensors by name.

Reads `model.language_model.*` and `lm_head.weight` from one or many safetensors files and nothing
of the vision tower. Knows the layouts on disk; does not know how a module computes.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from decoder_svc.errors import CheckpointNotSupported

TEXT = "model.language_model."
HEAD = "lm_head.weight"
MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")


class Checkpoint:
    """A folder; raises CheckpointNotSupported where it is not one of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = self._json("config.json")
        self.model_type = self.raw.get("model_type")
        if self.model_type not in MODEL_TYPES:
            raise CheckpointNotSupported(
                f"model type {self.model_type!r} is not one of {', '.join(MODEL_TYPES)}",
                model_type=self.model_type,
            )
        self._handles: dict[str, Any] = {}

    @cached_property
    def config(self) -> Any:
        """The config object of transformers."""
        from transformers import Qwen3VLConfig, Qwen3VLMoeConfig

        kind = Qwen3VLMoeConfig if self.model_type == "qwen3_vl_moe" else Qwen3VLConfig
        return kind.from_pretrained(self.folder)

    @property
    def image_token_id(self) -> int:
        return int(self.raw["image_token_id"])

    @property
    def levels(self) -> int:
        return len(self.config.vision_config.deepstack_visual_indexes)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """From generation_config.json, as `generate` takes them; else from the text config."""
        path = "generation_config.json"
        generation = self._json(path) if (self.folder / path).is_file() else {}
        ids = generation.get("eos_token_id", self.config.text_config.eos_token_id)
        if ids is None:
            raise CheckpointNotSupported("the checkpoint names no eos_token_id")
        return frozenset(ids if isinstance(ids, list) else [ids])

    @cached_property
    def files(self) -> dict[str, str]:
        """Tensor name to file name."""
        if (self.folder / "model.safetensors.index.json").is_file():
            index: dict[str, str] = self._json("model.safetensors.index.json")["weight_map"]
            return index
        names = sorted(path.name for path in self.folder.glob("*.safetensors"))
        found = {tensor: name for name in names for tensor in self._open(name).keys()}  # noqa: SIM118
        if not found:
            raise CheckpointNotSupported("the checkpoint has no safetensors files")
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handle(name).get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._handle(name).get_tensor(name)
        return tensor

    def close(self) -> None:
        """Let go of the files; tensors that were read stay."""
        self._handles.clear()

    def _handle(self, name: str) -> Any:
        if name not in self.files:
            raise CheckpointNotSupported(f"the checkpoint lacks {name}", tensor=name)
        return self._open(self.files[name])

    def _open(self, file: str) -> Any:
        if file not in self._handles:
            try:
                self._handles[file] = safe_open(self.folder / file, framework="pt", device="cpu")
            except (OSError, SafetensorError) as error:
                raise CheckpointNotSupported(f"cannot read {file}: {error}", file=file) from error
        return self._handles[file]

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_text())
        except (OSError, ValueError) as error:
            raise CheckpointNotSupported(f"no readable {name} in the checkpoint", file=name) from error
        return content
