"""A pool of thumbnails, drawn once and kept on disk, and batches from it. A drawing that was stopped goes on."""

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

from encoder_svc.gate.thumbnail import SIDE, thumbnail
from standin.gate.pictures import KINDS, draw

SHARD = 250
SHIFT = 6
"""Pixels by which a picture is moved at most."""


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
        pictures = np.stack([thumbnail(np.asarray(draw(self.split, self.kind, seed))) for seed in seeds])
        temporary = self.path.with_suffix(".tmp")
        save_file({"pictures": torch.from_numpy(pictures)}, temporary)
        os.replace(temporary, self.path)


def _draw(shard: Shard) -> Path:
    torch.set_num_threads(1)
    shard.draw()
    return shard.path


@dataclass(frozen=True)
class Pool:
    """Pictures (N, SIDE, SIDE, 3) in bytes, and the place of each one's kind in KINDS."""

    pictures: Tensor
    kinds: Tensor

    @classmethod
    def drawn(cls, folder: Path, split: str, shards: dict[str, int], processes: int) -> Pool:
        """`shards` of each kind."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [Shard(folder, split, kind, number) for kind in KINDS for number in range(shards[kind])]
        with ProcessPoolExecutor(processes) as workers:
            for done, path in enumerate(workers.map(_draw, wanted), 1):
                print(f"gate: drawn {done} of {len(wanted)}, {path.name}", flush=True)
        pictures = torch.empty((len(wanted) * SHARD, SIDE, SIDE, 3), dtype=torch.uint8)
        for place, shard in enumerate(wanted):
            pictures[place * SHARD : (place + 1) * SHARD] = load_file(shard.path)["pictures"]
        kinds = torch.tensor([KINDS.index(shard.kind) for shard in wanted]).repeat_interleave(SHARD)
        return cls(pictures, kinds)

    def batches(self, size: int, seed: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless varied batches; the same for a seed and a first step."""
        random = torch.Generator().manual_seed(seed * 1_000_003 + first)
        while True:
            order = torch.randperm(len(self.kinds), generator=random)
            for chosen in order.split(size):
                if len(chosen) == size:
                    yield _varied(self.pictures[chosen], random), self.kinds[chosen]


def _varied(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Mirrored, moved, inverted, with other colours and contrast; still bytes."""

    def chance(share: float) -> Tensor:
        return torch.rand((len(pictures), 1, 1, 1), generator=random) < share

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((len(pictures), 1, 1, 1), generator=random)

    varied = torch.where(chance(0.4), pictures.flip(2), pictures)
    varied = torch.where(chance(0.25), varied[..., torch.randperm(3, generator=random)], varied)
    varied = torch.where(chance(0.08), 255 - varied, varied)
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=random).tolist()
    varied = _moved(varied, down, right).float()
    varied = torch.where(chance(0.5), (varied - 128) * between(0.6, 1.3) + 128 + between(-30, 30), varied)
    return varied.clamp(0, 255).to(torch.uint8)


def _moved(pictures: Tensor, down: int, right: int) -> Tensor:
    """What leaves an edge is lost; the opposite edge is repeated."""
    rows = (torch.arange(SIDE) - down).clamp(0, SIDE - 1)
    columns = (torch.arange(SIDE) - right).clamp(0, SIDE - 1)
    return pictures[:, rows][:, :, columns]
