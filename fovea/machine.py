"""Which devices and which arithmetic `auto` means. Asks the machine without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

from fovea.contract.rows import RowDtype


def cores() -> int:
    """Those that this process may use, where the system tells; else all."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def cuda_devices() -> int:
    """How many CUDA devices the driver shows."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def pick_devices(setting: str) -> tuple[str, ...]:
    """`auto` is every CUDA device, or the CPU; anything else is a comma-separated list of torch devices."""
    if setting != "auto":
        return tuple(part.strip() for part in setting.split(",") if part.strip())
    return tuple(f"cuda:{index}" for index in range(cuda_devices())) or ("cpu",)


def pick_dtype(setting: str, device: str) -> RowDtype:
    """`auto` is bf16 on CUDA and fp32 elsewhere."""
    if setting != "auto":
        return RowDtype(setting)
    return RowDtype.BF16 if pick_devices(device)[0].startswith("cuda") else RowDtype.FP32
