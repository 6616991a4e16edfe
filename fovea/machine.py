"""Resolves `auto` to devices and dtypes. Inspects the machine without importing torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from fovea.contract.rows import RowDtype

_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")


def cores() -> int:
    """The CPU cores that this process may use, or all of them where the system has no affinity."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def cuda_devices() -> int:
    """The number of CUDA devices that the driver lists."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def named_devices(setting: str) -> str:
    """Return `setting` if it is `auto` or a list of devices. Raises ValueError."""
    names = [part.strip() for part in setting.split(",")]
    wrong = [name for name in names if not _DEVICE.fullmatch(name)]
    if setting != "auto" and wrong:
        raise ValueError(f"{wrong[0]!r} is not a device: auto, cpu, cuda, cuda:0, cuda:1, ...")
    if len(set(names)) < len(names):
        raise ValueError(f"{setting!r} names a device twice")
    return setting


def pick_devices(setting: str) -> tuple[str, ...]:
    """`auto` is every CUDA device, or the CPU; otherwise a comma-separated list of torch devices."""
    if setting != "auto":
        return tuple(part.strip() for part in setting.split(",") if part.strip())
    return tuple(f"cuda:{index}" for index in range(cuda_devices())) or ("cpu",)


def check_devices(names: Sequence[str], cuda_count: int, bf16: bool = False) -> None:
    """Raises ValueError if a device does not exist.

    `cuda_count` is torch's own count, which knows drivers and versions. `bf16` is set if the arithmetic is
    bf16 and the CUDA devices cannot do it.
    """
    for name in names:
        kind, _, index = name.partition(":")
        if kind == "cuda" and int(index or 0) >= cuda_count:
            available = f"{cuda_count} CUDA devices" if cuda_count else "no CUDA device"
            raise ValueError(f"device {name}: torch finds {available} on this machine")
        if kind == "cuda" and bf16:
            raise ValueError(f"device {name} has no bf16: set the dtype to fp16 or fp32")


def pick_dtype(setting: str, device: str) -> RowDtype:
    """`auto` is bf16 on CUDA and fp32 elsewhere."""
    if setting != "auto":
        return RowDtype(setting)
    return RowDtype.BF16 if pick_devices(device)[0].startswith("cuda") else RowDtype.FP32
