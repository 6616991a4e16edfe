"""What the device can do at best: bytes copied a second, and arithmetic of a large matrix product.

Both on random data, because products of zeros draw less power and so run faster. A copy counts what it reads
and what it writes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

ROUNDS = 20


@dataclass(frozen=True)
class Roofline:
    bytes_per_s: float
    flops_per_s: float


def measure(device: torch.device, dtype: torch.dtype, copied: int, side: int) -> Roofline:
    """With `copied` bytes a copy and square matrices of `side`."""
    source = torch.randint(255, (copied,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return Roofline(
        2 * copied / _median_s(device, lambda: target.copy_(source)),
        2 * side**3 / _median_s(device, lambda: torch.matmul(a, b, out=out)),
    )


def _median_s(device: torch.device, step: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        step()
        wait(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[ROUNDS // 4 :])


def wait(device: torch.device) -> None:
    """Until the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
