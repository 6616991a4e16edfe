"""Training state in safetensors.

Parameters, optimiser moments and the step, so that a run can resume where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLMoeForConditionalGeneration

from standin.config import LARGE
from standin.model import Model
from standin.optimiser import Pair


def save_state(path: Path, module: nn.Module, optimiser: Pair | None, step: int) -> None:
    """Write everything to a temporary file beside `path`, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight.{name}": value.detach().clone() for name, value in module.state_dict().items()}
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for parameter, state in (optimiser.state if optimiser else {}).items():
        for key in state:
            tensors[f"{key}.{names[id(parameter)]}"] = state[key].detach().clone()
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"step": str(step)})
    os.replace(temporary, path)


def _own_name(name: str, own: Container[str]) -> str:
    """The whole model's name of a tensor that the tower's checkpoint holds under its own."""
    return name if name in own else f"model.model.{name}"


def load_weights(path: Path, module: nn.Module) -> int:
    """Load the parameters that `module` shares with the file; returns the step it was written at."""
    tensors = load_file(path)
    own = module.state_dict()
    weights = {_own_name(n[7:], own): value for n, value in tensors.items() if n.startswith("weight.")}
    known = {n: v for n, v in weights.items() if n in own and own[n].shape == v.shape}
    missing, _ = module.load_state_dict(known, strict=False)
    if missing:
        print(f"{path}: not in the file: {len(missing)} tensors, first {missing[0]}")
    return steps_done(path)


def steps_done(path: Path) -> int:
    """The step a checkpoint was written at; 0 if there is none."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def load_folder(folder: Path) -> Model:
    """The model of a folder in the published layout, in fp32."""
    named = json.loads((folder / "config.json").read_text())["model_type"]
    moe = named == LARGE.model_type
    kind = Qwen3VLMoeForConditionalGeneration if moe else Qwen3VLForConditionalGeneration
    return kind.from_pretrained(folder, dtype=torch.float32)


def load_state(path: Path, module: nn.Module, optimiser: Pair) -> int:
    """Load parameters and optimiser moments; returns the step to resume from."""
    step = load_weights(path, module)
    tensors = load_file(path)
    for name, parameter in module.named_parameters():
        keys = [key for key in ("exp_avg", "exp_avg_sq", "step") if f"{key}.{name}" in tensors]
        if keys:
            optimiser.restore(parameter, {key: tensors[f"{key}.{name}"] for key in keys})
    return step
