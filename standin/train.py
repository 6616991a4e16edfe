"""Trains the stand-in by the recipe: the tower on dense labels, then the whole model on packed questions.

The stage `gate` trains the encoder's gate, which shares nothing with them.

Every stage writes a checkpoint under --out and resumes from it when it is started again. After the stages
that the recipe names their weights are exported as folders beside the checkpoints; committing them is a copy.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from standin import control_dir, model_dir
from standin.checkpoint import load_folder, load_state, load_weights, save_state, steps_done
from standin.config import LARGE
from standin.dataset import KINDS, Batch, training_batches
from standin.dense_head import DenseHead, recall
from standin.export import checkpoint_tensors, write_folder
from standin.gate.train import train_gate
from standin.model import build_model
from standin.optimiser import Pair
from standin.parallel import average_gradients, launch
from standin.pretrain import pretrain
from standin.questions import COUNTING, FINE
from standin.recipe import BALANCE, CONTROL, DENSE_LEVELS, MOST_DROPPED, STAGES, TRUNK, Stage
from standin.scoped import best_rows, uniform_squares
from standin.shrink import shrunk
from standin.squares import squares_there
from standin.whole import Choose, run_batch


@dataclass(frozen=True)
class Job:
    """One stage to run: where its checkpoint goes and whose weights it takes (None: fresh ones)."""

    stage: Stage
    out: Path
    start: Path | None

    @property
    def path(self) -> Path:
        return self.out / f"{self.stage.name}.safetensors"


class Stream(IterableDataset):  # type: ignore[type-arg]
    """The endless training batches of one seed."""

    def __init__(self, seed: int, stage: Stage) -> None:
        self.seed, self.stage = seed, stage

    def __iter__(self) -> Iterator[Batch]:
        return training_batches(self.seed, self.stage.data())


class Scores:
    """Share of right answers by kind since the last look."""

    def __init__(self) -> None:
        self.right: dict[str, int] = defaultdict(int)
        self.asked: dict[str, int] = defaultdict(int)

    def add(self, kinds: Tensor, right: Tensor) -> None:
        for kind, ok in zip(kinds.flatten().tolist(), right.flatten().tolist(), strict=True):
            if kind >= 0:
                self.asked[KINDS[kind]] += 1
                self.right[KINDS[kind]] += ok

    def take(self) -> str:
        """One line of all kinds, coarse and fine means first; resets the counts."""
        parts = []
        for tier in ("coarse", "fine"):
            shares = [self.right[k] / self.asked[k] for k in self.asked if (k in FINE) == (tier == "fine")]
            parts.append(f"{tier.upper()} {sum(shares) / max(1, len(shares)):.3f}")
        parts += [f"{kind} {self.right[kind] / self.asked[kind]:.2f}" for kind in KINDS if self.asked[kind]]
        self.right.clear()
        self.asked.clear()
        return " ".join(parts)


def dropped_rows(count: int, rows: int, share: float) -> Tensor | None:
    """(count, rows) of kept rows: a `share` of the pictures loses a random part; None if the share is 0."""
    if not share:
        return None
    part = torch.rand(count, 1) * MOST_DROPPED * (torch.rand(count, 1) < share)
    return torch.rand(count, rows) >= part


def economical(pictures: Tensor, share: float) -> Choose | None:
    """Leaves out the least of the rows of a `share` of these pictures; None if the share is 0."""
    if not share:
        return None
    uniform = uniform_squares(pictures)
    return lambda rows, attention: best_rows(rows, attention, uniform, share)


def answer_weights(kinds: Tensor, counting: float, fine: float = 1.0) -> Tensor:
    """(B, questions): `counting` where a number of things is asked for, `fine` for fine questions, else 1."""
    weights = torch.ones(kinds.shape)
    for weight, named in ((counting, COUNTING), (fine, FINE)):
        weights[torch.isin(kinds, torch.tensor([KINDS.index(kind) for kind in named]))] = weight
    return weights


class Trainer:
    """One process's share of a stage."""

    def __init__(self, rank: int, job: Job) -> None:
        self.rank, self.job, self.stage = rank, job, job.stage
        torch.manual_seed(self.stage.seed)
        self.model = build_model(job.stage.form)
        self.levels = DENSE_LEVELS[: job.stage.form.levels]
        self.head = DenseHead(self.model.config.vision_config.out_hidden_size, len(self.levels))
        self.parts = torch.nn.ModuleDict({"model": self.model, "head": self.head})
        self.optimiser = Pair(self.parts, self.stage.rate)
        self.first = self._take_weights()
        torch.manual_seed(self.stage.seed * 1000 + self.first * 10 + rank)
        self.scores, self.started = Scores(), time.time()

    def _take_weights(self) -> int:
        """The stage's own checkpoint, else its start's weights; returns the step to resume from."""
        if self.job.path.exists():
            return load_state(self.job.path, self.parts, self.optimiser)
        start = self.job.start
        if self.stage.form != LARGE:
            self.model.load_state_dict(shrunk(_large_weights(start)))
        elif start is not None and start.is_dir():
            self.model.load_state_dict(load_folder(start).state_dict())
        elif start is not None:
            load_weights(start, self.parts)
        return 0

    def stream(self) -> Iterator[Batch]:
        """Batches of a seed that no other process and no earlier start of this stage has."""
        source = Stream((self.stage.seed * 100_000 + self.first) * 16 + self.rank, self.stage)
        loader = DataLoader(
            source, batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="fork"
        )
        return iter(loader)

    def step(self, step: int, batch: Batch) -> None:
        """Forward, backward, update; a line every 25 steps."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.stage.rate_at(step) * min(1.0, (step - self.first + 1) / self.stage.warm_up)
        rows = batch.pictures.shape[1] * batch.pictures.shape[2] // 1024
        kept = dropped_rows(len(batch.pictures), rows, self.stage.drop)
        pictures = torch.from_numpy(batch.pictures)
        there = squares_there(pictures, self.stage.flat)
        labels = torch.from_numpy(batch.labels) if batch.labels is not None else None
        asked = (pictures, torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets))
        looks = torch.from_numpy(batch.looks) if self.stage.looking else None
        named = labels if self.stage.naming else None
        weights = answer_weights(torch.from_numpy(batch.kinds), self.stage.counting, self.stage.fine)
        choose = economical(pictures, self.stage.scope)
        done = run_batch(self.model, *asked, kept, named, looks, there, choose, weights)
        loss = done.answers + BALANCE * done.balance + self.stage.naming * (done.named + done.bound)
        loss, shown = loss + self.stage.looking * done.looked, ""
        if labels is not None:
            dense, logits = self.head(done.rows, labels, self.levels)
            loss = loss + self.stage.dense * dense
            if self.rank == 0 and step % 25 == 0:
                shown = " ".join(f"{name} {share:.2f}" for name, share in recall(logits, labels).items())
        self.optimiser.zero_grad()
        loss.backward()
        average_gradients(self.parts.parameters())
        torch.nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self.optimiser.step()
        self.scores.add(torch.from_numpy(batch.kinds), done.right)
        if step % 25 == 0:
            parts = {"answers": done.answers, "named": done.named, "bound": done.bound, "looked": done.looked}
            losses = " ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
            self.say(step, f"{losses} balance {done.balance.item():.2f} {shown}")

    def say(self, step: int, what: str) -> None:
        if self.rank == 0:
            print(f"{self.stage.name} {time.time() - self.started:6.0f}s step {step} {what}", flush=True)

    def run(self) -> None:
        """Train to the last step."""
        stream = self.stream()
        for step in range(self.first, self.stage.steps):
            self.step(step, next(stream))
            if step % 100 == 99:
                self.say(step, self.scores.take())
            if self.rank == 0 and (step % 100 == 99 or step == self.stage.steps - 1):
                save_state(self.job.path, self.parts, self.optimiser, step + 1)


def _large_weights(start: Path) -> dict[str, Tensor]:
    """The parameters of a stage that was run, or of a folder."""
    return dict(load_folder(start).state_dict()) if start.is_dir() else checkpoint_tensors(start)


def work(rank: int, job: Job) -> None:
    Trainer(rank, job).run()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stages", nargs="*", default=["tower", *STAGES, "gate"], help="default: all, in order"
    )
    parser.add_argument("--out", type=Path, default=Path("build/standin"))
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def start_of(stage: Stage, out: Path) -> Path:
    """The checkpoint whose weights a stage takes. A last phase resumes from its own committed weights where
    the stage before was not run.
    """
    trained = out / f"{stage.start}.safetensors"
    if trained.exists() or stage.start in ("tower", TRUNK.name):
        return trained
    return control_dir() if stage.name == CONTROL.name else model_dir()


def main() -> None:
    options = parse()
    for name in options.stages:
        if name == "tower":
            pretrain(options.out, options.processes)
            continue
        if name == "gate":
            train_gate(options.out, options.processes)
            continue
        stage = STAGES[name]
        job = Job(stage, options.out, start_of(stage, options.out))
        if steps_done(job.path) < stage.steps:
            launch(work, options.processes, job)
        if stage.exported:
            write_folder(checkpoint_tensors(job.path), options.out / stage.name, stage.form)


if __name__ == "__main__":
    main()
