"""Loads the vision tower of a checkpoint, and nothing else of it.

The module is built without memory, then filled tensor by tensor from the safetensors files; the language
model is neither built nor read. A missing, extra or reshaped tensor rejects the checkpoint: a tower with
random weights would also answer, and nobody would notice.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from encoder_svc.vision.modules import VisionModel
from fovea import architecture
from fovea.checkpoint import TensorEntry
from fovea.contract.errors import CheckpointNotSupported
from fovea.fingerprint import Progress, vision_tensors

DTYPES = ("F32", "BF16", "F16", "F64")


def load(
    directory: Path | str,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress = lambda done, total: None,
) -> VisionModel:
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


def _empty(directory: Path | str, device: torch.device, dtype: torch.dtype) -> VisionModel:
    """The modules with allocated but uninitialised weights."""
    with torch.device("meta"):
        model = VisionModel(architecture.load(directory).vision_config).to(dtype)
    return model.to_empty(device=device).requires_grad_(False).eval()


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
