"""Trains the gate on drawn pictures and writes it as ONNX: the stage `gate` of `standin.train`.

It resumes from its checkpoint, and draws only pictures that are not on disk yet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from standin.checkpoint import load_state, save_state
from standin.gate.export import write_onnx
from standin.gate.network import GateNetwork, normalised
from standin.gate.pictures import KINDS
from standin.gate.pool import Pool, as_pixels

SHARDS = {"TEXT": 4, "TABLE": 4, "CHART": 5, "DRAWING": 5, "PHOTO": 4, "BLANK": 1}
"""Of 250 pictures each."""
SETTLING = 40
HELD_OUT = dict.fromkeys(KINDS, 1)


@dataclass(frozen=True)
class GateStage:
    """How long and how fast. The learning rate rises over `warm_up` steps and falls to zero over the last
    `falling`. The first `half_size` steps see views of half the size, which cost a quarter.
    """

    steps: int = 2400
    half_size: int = 1600
    falling: int = 600
    batch: int = 32
    rate: float = 2e-3
    decay: float = 0.02
    warm_up: int = 100
    smoothing: float = 0.05
    seed: int = 11
    shards: dict[str, int] = field(default_factory=lambda: SHARDS)
    held_out: dict[str, int] = field(default_factory=lambda: HELD_OUT)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        rising, falling = (step + 1) / self.warm_up, (self.steps - step) / self.falling
        return self.rate * min(1.0, rising, falling)

    def shrunk(self, step: int) -> int:
        """What the sides of views are divided by."""
        return 2 if step < self.half_size else 1


class Adam(torch.optim.AdamW):
    """AdamW whose moments a checkpoint can restore."""

    def restore(self, parameter: torch.nn.Parameter, state: dict[str, Tensor]) -> None:
        self.state[parameter] = state


def train_gate(out: Path, processes: int, stage: GateStage | None = None) -> Path:
    """Draw, train, write `out/gate/model.onnx`."""
    stage, folder = stage or GateStage(), out / "gate"
    torch.manual_seed(stage.seed)
    network, checkpoint = GateNetwork(), folder / "gate.safetensors"
    optimiser = Adam(network.parameters(), stage.rate, weight_decay=stage.decay)
    pool = Pool.drawn(folder / "pool", "train", stage.shards, processes)
    _train(network, optimiser, pool, stage, checkpoint)
    settle(network, pool, stage)
    network.eval()
    write_onnx(network, folder / "model.onnx")
    for split in ("heldout", "unseen"):
        _report(network, split, Pool.drawn(folder / "pool", split, stage.held_out, processes))
    return folder / "model.onnx"


def _train(network: GateNetwork, optimiser: Adam, pool: Pool, stage: GateStage, checkpoint: Path) -> None:
    first = load_state(checkpoint, network, optimiser) if checkpoint.exists() else 0
    network.train()
    started, right, shrunk = time.time(), 0, stage.shrunk(first)
    batches = pool.batches(stage.batch, stage.seed, first, shrunk)
    for step in range(first, stage.steps):
        if shrunk != stage.shrunk(step):
            shrunk = stage.shrunk(step)
            batches = pool.batches(stage.batch, stage.seed, step, shrunk)
        pixels, kinds = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = stage.rate_at(step)
        logits = network(normalised(pixels))
        loss = torch.nn.functional.cross_entropy(logits, kinds, label_smoothing=stage.smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        right += int((logits.argmax(1) == kinds).sum())
        if step % 50 == 49:
            share, right = right / 50 / stage.batch, 0
            print(
                f"gate {time.time() - started:6.0f}s step {step + 1} loss {loss.item():.3f} right {share:.3f}",
                flush=True,
            )
        if step % 100 == 99 or step == stage.steps - 1:
            save_state(checkpoint, network, optimiser, step + 1)


@torch.no_grad()
def settle(network: GateNetwork, pool: Pool, stage: GateStage) -> None:
    """Average the statistics of all normalisations anew over SETTLING batches, with the weights as they are now.

    The running averages still remember views of half the size.
    """
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    network.train()
    batches = pool.batches(stage.batch, stage.seed, stage.steps)
    for _ in range(SETTLING):
        network(normalised(next(batches)[0]))


@torch.no_grad()
def judged(network: GateNetwork, views: Tensor) -> Tensor:
    """The place in KINDS of each view's kind."""
    network.eval()
    return torch.cat([network(normalised(as_pixels(part))).argmax(1) for part in views.split(64)])


def _report(network: GateNetwork, split: str, pool: Pool) -> None:
    """Print the confusion of a split: a row for each kind."""
    seen = judged(network, pool.views)
    for place, kind in enumerate(KINDS):
        counts = torch.bincount(seen[pool.kinds == place], minlength=len(KINDS)).tolist()
        print(
            f"gate {split} {kind:8}", *(f"{name} {count}" for name, count in zip(KINDS, counts, strict=True))
        )
    print(f"gate {split} {(seen == pool.kinds).float().mean().item():.3f}", flush=True)
