"""Measures the gate on drawn pictures that training never saw, and on real ones.

`gate_ms` is the whole judgement of decoded pixels, view included, on one core. `gate_accuracy` counts the
kind that an upload would have: file, decoder, rules, gate. Pictures have other seeds, fonts, papers, styles
and colour maps than training; those of `gate_unseen_accuracy` are made by other generators too. A full run
writes docs/gate.md.
"""

from __future__ import annotations

import argparse
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from bench import bounds, runner
from bench.gating import page
from bench.gating.real import SAMPLES, installed
from bench.host import ROOT, side
from bench.result import Measure, Result
from bench.runner import Run
from bench.turns import time_in_turns
from encoder_svc.gate.gate import Gate, GateSettings
from encoder_svc.images.decode import decode
from encoder_svc.images.limits import ImageLimits
from fovea.contract.image import ImageFacts, ImageKind
from standin.gate.pictures import KINDS, draw

PER_KIND, QUICK_PER_KIND = {"heldout": 100, "unseen": 50}, {"heldout": 10, "unseen": 5}
"""Pictures of each split."""
SIZE = (1000, 1000)
MOST_MS, LEAST_RIGHT = 5.0, 0.95
TARGETS = {
    "gate_ms": Measure("ms", None, target=MOST_MS, sense="at most"),
    "gate_accuracy": Measure("share", None, target=LEAST_RIGHT),
    "gate_unseen_accuracy": Measure("share", None),
    "gate_real_accuracy": Measure("share", None),
    "rules_accuracy": Measure("share", None),
}
SECONDS, QUICK_SECONDS = 10.0, 2.0
COARSE = {"TABLE": "TEXT", "CHART": "GRAPHIC", "DRAWING": "GRAPHIC"}
"""The kinds of rules, for kinds that they do not know."""


@dataclass
class Confusion:
    """How often each drawn or real kind is judged to be each kind."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_rules: Counter[bool] = field(default_factory=Counter)

    @classmethod
    def joined(cls, parts: Iterable[Confusion]) -> Confusion:
        whole = cls()
        for part in parts:
            whole.counts += part.counts
            whole.by_rules += part.by_rules
        return whole

    def add(self, kind: str, rules: ImageFacts, facts: ImageFacts) -> None:
        self.counts[kind, facts.kind] += 1
        self.by_rules[COARSE.get(kind, kind) == rules.kind] += 1

    @property
    def judged(self) -> list[str]:
        """Every kind that was judged, those that are drawn first."""
        return [*KINDS, *sorted({kind for _, kind in self.counts} - set(KINDS))]

    def accuracy(self, target: float | None = None) -> Measure:
        right = sum(count for (drawn, judged), count in self.counts.items() if drawn == judged)
        return Measure.of("share", bounds.share(right, self.counts.total()), target)

    def total(self, kind: str) -> int:
        return sum(self.counts[kind, judged] for judged in self.judged)

    def rules_accuracy(self) -> Measure:
        return Measure.of("share", bounds.share(self.by_rules[True], self.by_rules.total()))


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--untimed", action="store_true", help="leave gate_ms out, on a busy machine")


def facts_of(gate: Gate, file: bytes) -> tuple[ImageFacts, ImageFacts]:
    """What a worker measures by rules, and with the gate."""
    decoded = decode(file, ImageLimits())
    return decoded.facts, gate.refine(decoded.rgb, decoded.facts)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def measure(run: Run) -> Result:
    gate, per_kind = Gate.load(GateSettings()), run.effort(PER_KIND, QUICK_PER_KIND)
    by_split = {split: judge_drawn(run, gate, split, count) for split, count in per_kind.items()}
    drawn = Confusion.joined(by_split.values())
    real, rows = judge_real(gate)
    taken = dict(TARGETS)
    if not getattr(run.flags, "untimed", False):
        taken["gate_ms"] = milliseconds(run, gate)
    taken["gate_accuracy"], taken["rules_accuracy"] = drawn.accuracy(LEAST_RIGHT), drawn.rules_accuracy()
    taken["gate_unseen_accuracy"] = by_split["unseen"].accuracy()
    if rows:
        taken["gate_real_accuracy"] = real.accuracy()
    notes = [f"{len(rows)} of {len(SAMPLES)} real pictures are installed"]
    whole = not run.quick and run.seed == 0 and len(rows) == len(SAMPLES)
    path = ROOT / ("docs/gate.md" if whole else "build/gate/gate.md")
    facts = {**per_kind, "seed": run.seed, **page.trained(), "by_kind": page.by_kind(by_split)}
    page.write(path, whole, facts, drawn, rows, taken)
    notes.append(f"written: {path}")
    config = {"per_kind": per_kind, "size": list(SIZE), "real": len(rows)}
    return Result(config, {"ours": side("fovea"), "onnxruntime": side("onnxruntime")}, taken, notes=notes)


def judge_drawn(run: Run, gate: Gate, split: str, per_kind: int) -> Confusion:
    """A picture of a single colour has no generator that training does not use."""
    drawn = Confusion()
    for kind in KINDS:
        if split == "unseen" and kind == ImageKind.BLANK:
            continue
        run.status(f"drawing {split} {kind.lower()}")
        for seed in range(per_kind):
            # Shards of the trainer's report are the first seeds.
            drawn.add(kind, *facts_of(gate, png(draw(split, kind, 1_000_000 * (run.seed + 1) + seed))))
    return drawn


def judge_real(gate: Gate) -> tuple[Confusion, list[page.RealRow]]:
    real, rows = Confusion(), []
    for sample, file in installed():
        rules, facts = facts_of(gate, file)
        real.add(facts.kind if facts.kind == sample.other else sample.kind, rules, facts)
        rows.append(page.RealRow(sample, rules, facts))
    return real, rows


def milliseconds(run: Run, gate: Gate) -> Measure:
    """The median time of a judgement at 1 megapixel, over a picture of each kind, on one core."""
    images = [
        draw("heldout", kind, 7).resize(SIZE, Image.Resampling.BICUBIC) for kind in KINDS if kind != "BLANK"
    ]
    pictures = [np.array(image) for image in images]
    steps = {str(place): (lambda turn, rgb=rgb: gate.judge(rgb)) for place, rgb in enumerate(pictures)}
    run.status("timing judgements")
    with one_core():
        times = time_in_turns(steps, run.effort(SECONDS, QUICK_SECONDS), least=20, warm_up=3)
    taken = [1000 * seconds for each in times.values() for seconds in each]
    return Measure.of("ms", bounds.median(taken, run.seed), MOST_MS, "at most")


@contextmanager
def one_core() -> Iterator[None]:
    """This process on the first of its cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    runner.main("gate", "Measure how well and how fast the gate judges kinds of images.", measure, add_flags)
