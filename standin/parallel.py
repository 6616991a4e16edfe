"""Single-threaded processes on a part of the batch each: on few cores, less waste than threads.

Gradients are averaged over loopback after every backward. Independent of the model.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def launch(work: Callable[[int, Any], None], processes: int, options: Any) -> None:
    """Run `work(rank, options)` in several processes that can average gradients; returns when all end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_start, (processes, port, work, options), processes)


def _start(rank: int, processes: int, port: int, work: Callable[[int, Any], None], options: Any) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    work(rank, options)
    dist.destroy_process_group()


def world() -> tuple[int, int]:
    """This process's rank and how many there are; (0, 1) outside `launch`."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes; a missing one counts as zero."""
    if world()[1] == 1:
        return
    chosen = list(parameters)
    for parameter in chosen:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in chosen if parameter.grad is not None])
    dist.all_reduce(flat)
    flat /= world()[1]
    for parameter, part in zip(chosen, flat.split([p.numel() for p in chosen]), strict=True):
        parameter.grad = part.view_as(parameter)


def gathered(parts: list[torch.Tensor | None], shapes: list[torch.Size]) -> list[torch.Tensor]:
    """Tensors of which each process holds some (the others None), completed by all of them."""
    if world()[1] == 1:
        return [part for part in parts if part is not None]
    flat = torch.cat(
        [
            part.flatten() if part is not None else torch.zeros(shape.numel())
            for part, shape in zip(parts, shapes, strict=True)
        ]
    )
    dist.all_reduce(flat)
    return [
        part.view(shape)
        for part, shape in zip(flat.split([shape.numel() for shape in shapes]), shapes, strict=True)
    ]
