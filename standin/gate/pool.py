"""A pool of views, drawn once and kept on disk, and batches from it. A drawing that was stopped goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoder_svc.gate.view import CELL, HEIGHT, SIDE, WIDTH, view
from standin.gate.pictures import KINDS, cut, draw

SHARD = 250
CUTS = {"train": 1}
"""Further views of each picture of a split, of a part of it."""
SHIFT = 6
"""Pixels by which a thumbnail is moved at most."""


@dataclass(frozen=True)
class Shard:
    """SHARD pictures of a kind in a file."""

    folder: Path
    split: str
    kind: str
    number: int

    @property
    def path(self) -> Path:
        return self.folder / f"{self.split}-{self.kind.lower()}-{self.number}.safetensors"

    def draw(self) -> None:
        if self.path.exists():
            return
        seeds = range(self.number * SHARD, (self.number + 1) * SHARD)
        views = np.stack([seen for seed in seeds for seen in self._views(seed)])
        temporary = self.path.with_suffix(".tmp")
        save_file({"views": torch.from_numpy(views)}, temporary)
        os.replace(temporary, self.path)

    def _views(self, seed: int) -> Iterator[np.ndarray]:
        image = draw(self.split, self.kind, seed)
        yield view(np.asarray(image))
        for number in range(CUTS.get(self.split, 0)):
            yield view(np.asarray(cut(image, seed + number)))


def _draw(shard: Shard) -> Path:
    torch.set_num_threads(1)
    shard.draw()
    return shard.path


@dataclass(frozen=True)
class Pool:
    """Views (N, HEIGHT, WIDTH, 3) in bytes, and the place of each one's kind in KINDS."""

    views: Tensor
    kinds: Tensor

    @classmethod
    def drawn(cls, folder: Path, split: str, shards: dict[str, int], processes: int) -> Pool:
        """`shards` of each kind."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [Shard(folder, split, kind, number) for kind in KINDS for number in range(shards[kind])]
        with ProcessPoolExecutor(processes) as workers:
            for done, path in enumerate(workers.map(_draw, wanted), 1):
                print(f"gate: drawn {done} of {len(wanted)}, {path.name}", flush=True)
        size = SHARD * (1 + CUTS.get(split, 0))
        views = torch.empty((len(wanted) * size, HEIGHT, WIDTH, 3), dtype=torch.uint8)
        for place, shard in enumerate(wanted):
            views[place * size : (place + 1) * size] = load_file(shard.path)["views"]
        kinds = torch.tensor([KINDS.index(shard.kind) for shard in wanted]).repeat_interleave(size)
        return cls(views, kinds)

    def batches(self, size: int, seed: int, first: int, shrunk: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless varied batches of float pixels (N, 3, height, width), 0 to 255, and kinds; the same for a seed and
        a first step. Sides are divided by `shrunk`.
        """
        random = torch.Generator().manual_seed(seed * 1_000_003 + first)
        while True:
            order = torch.randperm(len(self.kinds), generator=random)
            for chosen in order.split(size):
                if len(chosen) == size:
                    yield _varied(as_pixels(self.views[chosen], shrunk), shrunk, random), self.kinds[chosen]


def as_pixels(views: Tensor, shrunk: int = 1) -> Tensor:
    """Bytes (N, height, width, 3) to floats (N, 3, height, width), with sides divided by `shrunk`."""
    pixels = views.permute(0, 3, 1, 2).float()
    return torch.nn.functional.avg_pool2d(pixels, shrunk) if shrunk > 1 else pixels


def _varied(pixels: Tensor, shrunk: int, random: torch.Generator) -> Tensor:
    """Mirrored, moved, inverted, with other colours and contrast."""

    def chance(share: float) -> Tensor:
        return torch.rand((len(pixels), 1, 1, 1), generator=random) < share

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((len(pixels), 1, 1, 1), generator=random)

    side, cell = SIDE // shrunk, CELL // shrunk
    for part in (np.s_[:, :, :side], np.s_[:, :, side:, :cell], np.s_[:, :, side:, cell:]):
        mirrored = chance(0.4).flatten()
        pixels[part][mirrored] = pixels[part][mirrored].flip(3)
    down, right = torch.randint(-SHIFT // shrunk, SHIFT // shrunk + 1, (2,), generator=random).tolist()
    pixels[:, :, :side] = _moved(pixels[:, :, :side], down, right)
    shuffled = chance(0.25).flatten()
    pixels[shuffled] = pixels[shuffled][:, torch.randperm(3, generator=random)]
    changed = chance(0.5)
    gain, light = between(0.6, 1.3).where(changed, 1), between(-30, 30).where(changed, 0)
    sign = torch.where(chance(0.08), -1.0, 1.0)
    return ((pixels - 127.5).mul_(gain * sign)).add_(127.5 + light).clamp_(0, 255)


def _moved(pixels: Tensor, down: int, right: int) -> Tensor:
    """What leaves an edge is lost; the opposite edge is repeated."""
    rows, columns = (
        (torch.arange(count) - by).clamp(0, count - 1)
        for count, by in zip(pixels.shape[2:], (down, right), strict=True)
    )
    return pixels[:, :, rows][..., columns]
