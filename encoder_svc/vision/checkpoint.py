"""Loads the vision tower of a checkpoint, and nothing else of it.

The module is built without memory, then filled tensor by tensor from the safetensors files; the language
model is neither built nor read. A missing, extra or reshaped tensor rejects the checkpoint: a tower with
random weights would also answer, and nobody would notice.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    PreTrainedModel,
    Qwen3VLMoeVisionConfig,
    Qwen3VLMoeVisionModel,
    Qwen3VLVisionConfig,
    Qwen3VLVisionModel,
)

from fovea import architecture
from fovea.checkpoint import TensorEntry, read_json
from fovea.contract.errors import CheckpointNotSupported
from fovea.fingerprint import Progress, model_type, vision_tensors

DTYPES = ("F32", "BF16", "F16", "F64")
_MODELS: dict[str, tuple[Any, Any]] = {
    "qwen3_vl": (Qwen3VLVisionConfig, Qwen3VLVisionModel),
    "qwen3_vl_moe": (Qwen3VLMoeVisionConfig, Qwen3VLMoeVisionModel),
}


def load(
    directory: Path | str,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress = lambda done, total: None,
) -> PreTrainedModel:
    """The tower in evaluation mode on `device`. Weights are converted to `dtype` as they are read."""
    architecture.check_processor(directory)
    model = _empty(directory, device, dtype)
    expected = dict(model.state_dict())
    stored = vision_tensors(directory)
    _compare(expected, stored)
    done, total = 0, sum(entry.size for _, entry in stored.values())
    for name, (name_on_disk, entry) in stored.items():
        expected[name].copy_(_read(entry, name_on_disk))
        _check_finite(name_on_disk, expected[name])
        done += entry.size
        progress(done, total)
    return model


def _check_finite(name: str, tensor: torch.Tensor) -> None:
    """Two reductions that propagate NaN cost a twentieth of `isfinite` on a CPU."""
    if not bool(tensor.amax().isfinite() & tensor.amin().isfinite()):
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointNotSupported(
            f"{name} holds values that are not finite in {dtype}", tensor=name, dtype=dtype
        )


def _read(entry: TensorEntry, name: str) -> torch.Tensor:
    """Reads a tensor of a plain dtype. The values of a quantised tensor mean nothing without their scales."""
    if entry.dtype not in DTYPES:
        raise CheckpointNotSupported(
            f"{name} is stored as {entry.dtype}; served are {', '.join(DTYPES)}",
            tensor=name,
            actual=entry.dtype,
        )
    try:
        with safe_open(entry.file, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointNotSupported(
            f"cannot read {entry.file.name}: {error}", file=entry.file.name
        ) from error
    return tensor


def attention(device: torch.device, dtype: torch.dtype) -> str:
    """Flash attention packs images without a loop. Without it, images of equal length share a call."""
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type == "cuda" and half and find_spec("flash_attn") is not None:
        return "flash_attention_2"
    return "sdpa"


def _empty(directory: Path | str, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The modules with allocated but uninitialised weights."""
    config_class, model_class = _MODELS[model_type(directory)]
    fields = dict(read_json(directory, "config.json")["vision_config"])
    fields.pop("model_type", None)  # published as that of the whole model
    config = config_class(**fields)
    with torch.device("meta"):
        model = model_class._from_config(config, dtype=dtype, attn_implementation=attention(device, dtype))
    model = model.to_empty(device=device).requires_grad_(False).eval()
    # `to_empty` also dropped the rotary frequencies, which are computed rather than loaded. They stay in
    # float32.
    model.rotary_pos_emb = type(model.rotary_pos_emb)(config).to(device)
    return model


def _compare(expected: dict[str, torch.Tensor], stored: dict[str, tuple[str, TensorEntry]]) -> None:
    missing = sorted(expected.keys() - stored.keys())
    unexpected = sorted(stored.keys() - expected.keys())
    reshaped = sorted(
        name for name in expected.keys() & stored.keys() if expected[name].shape != stored[name][1].shape
    )
    for problem, names in (
        ("lacks", missing),
        ("has too many", unexpected),
        ("has other shapes of", reshaped),
    ):
        if names:
            raise CheckpointNotSupported(
                f"the checkpoint {problem} {len(names)} vision tensors, such as {names[0]}",
                tensor=names[0],
                count=len(names),
            )
