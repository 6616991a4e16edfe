"""The language half of a published checkpoint: its config, its end tokens, its tensors by name.

Reads `model.language_model.*` and `lm_head.weight` from safetensors files, nothing of the vision tower. Knows
the layouts on disk, not how a module computes.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from decoder_svc.engine.protocol import ModelShape
from fovea import architecture
from fovea.checkpoint import INDEX, weight_map
from fovea.contract.errors import CheckpointNotSupported

TEXT = "model.language_model."
HEAD = "lm_head.weight"


class Checkpoint:
    """A checkpoint folder. Raises CheckpointNotSupported if its model is not served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.architecture = architecture.load(folder)
        self.model_type = self.architecture.model_type
        self._handles: dict[str, Any] = {}

    @property
    def image_token_id(self) -> int:
        return self.architecture.image_token_id

    @property
    def model_shape(self) -> ModelShape:
        text, vision = self.architecture.text_config, self.architecture.vision_config
        levels = len(vision.deepstack_visual_indexes)
        return ModelShape(text.hidden_size, levels, text.vocab_size, self.image_token_id)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        return frozenset(architecture.eos_ids(self.folder, self.architecture))

    @cached_property
    def files(self) -> dict[str, str]:
        """Tensor name to file name."""
        if (self.folder / INDEX).is_file():
            return weight_map(self.folder)
        names = sorted(path.name for path in self.folder.glob("*.safetensors"))
        files = {tensor: name for name in names for tensor in self._open(name).keys()}  # noqa: SIM118
        if not files:
            raise CheckpointNotSupported("the checkpoint has no safetensors files")
        return files

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handle(name).get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        """A float tensor. A quantised tensor is refused, because its values need scales."""
        tensor: Tensor = self._handle(name).get_tensor(name)
        if not tensor.is_floating_point() or tensor.itemsize < 2:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointNotSupported(
                f"{name} is stored as {kind}; served are floats of 16 bits and more", tensor=name, actual=kind
            )
        return tensor

    def close(self) -> None:
        """Close the files. Tensors that were read remain valid."""
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
