"""Pretrains the vision tower on scraps with dense labels: this is what makes reading start.

Writes a checkpoint, no model folder.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from standin.checkpoint import load_state, save_state, steps_done
from standin.dense_head import DenseHead, recall
from standin.draw.scraps import draw_scraps
from standin.labels import dense_labels
from standin.model import build_model
from standin.optimiser import Pair
from standin.parallel import average_gradients, launch
from standin.recipe import DENSE_LEVELS, TOWER_RATE, TOWER_STEPS
from standin.tower import patches_of, tower_rows

WARM_UP = 50  # steps
SIZES = [(96, 96)] * 6 + [(128, 64), (64, 128), (160, 96), (128, 128)]
PIXELS = 64 * 96 * 96


class Scraps(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of (uint8 pictures, labels), about the same number of pixels each."""

    def __init__(self, seed: str) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = random.Random(f"scraps/{self.seed}")
        while True:
            width, height = rng.choice(SIZES)
            canvases = [draw_scraps(rng, width, height) for _ in range(PIXELS // (width * height))]
            labels = np.stack([dense_labels(one, width, height) for one in canvases])
            yield np.stack([np.asarray(one.image) for one in canvases]), labels


def pretrain(out: Path, processes: int) -> None:
    """Train the tower to its last step, from out/tower.safetensors if that is there."""
    path = out / "tower.safetensors"
    if steps_done(path) < TOWER_STEPS:
        launch(work, processes, path)


def work(rank: int, path: Path) -> None:
    """One process's share of the run."""
    torch.manual_seed(0)
    model = build_model()
    visual = model.model.visual
    head = DenseHead(visual.config.out_hidden_size, len(DENSE_LEVELS))
    parts = torch.nn.ModuleDict({"visual": visual, "head": head})
    optimiser = Pair(parts, TOWER_RATE)
    first = load_state(path, parts, optimiser) if path.exists() else 0
    source = Scraps(f"{first}/{rank}")
    loader = DataLoader(
        source, batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="fork"
    )
    started = time.time()
    for step, (pictures, labels) in zip(range(first, TOWER_STEPS), loader, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = TOWER_RATE * min(1.0, (step - first + 1) / WARM_UP)
        rows = tower_rows(visual, patches_of(pictures), pictures.shape[1] // 16, pictures.shape[2] // 16)
        loss, logits = head(rows, labels, DENSE_LEVELS)
        optimiser.zero_grad()
        loss.backward()
        average_gradients(parts.parameters())
        torch.nn.utils.clip_grad_norm_(visual.parameters(), 1.0)
        optimiser.step()
        if rank == 0 and step % 25 == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in recall(logits, labels).items())
            print(
                f"tower {time.time() - started:6.0f}s step {step} loss {loss.item():.3f} {shown}", flush=True
            )
        if rank == 0 and (step % 100 == 99 or step == TOWER_STEPS - 1):
            save_state(path, parts, optimiser, step + 1)
