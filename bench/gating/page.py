"""Writes the page about the gate, and the plot of its confusion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from bench.evaluation.page import table, write_page
from bench.gating.real import Sample
from bench.host import host
from bench.result import Measure
from encoder_svc.gate.gate import WEIGHTS
from fovea.contract.image import ImageFacts
from standin.gate.pictures import KINDS
from standin.gate.pool import SHARD
from standin.gate.train import GateStage

if TYPE_CHECKING:
    from bench.gating.measure import Confusion

TEMPLATE = Path(__file__).with_name("page.md")


@dataclass(frozen=True)
class RealRow:
    """A real picture and what it was judged to be."""

    sample: Sample
    rules: ImageFacts
    facts: ImageFacts

    @property
    def right(self) -> bool:
        return self.facts.kind in (self.sample.kind, self.sample.other)

    @property
    def cells(self) -> list[str]:
        kinds = [self.sample.kind, self.sample.other] if self.sample.other else [self.sample.kind]
        by = f"{self.facts.kind_confidence:.2f}" if self.facts.kind_confidence else "rules"
        seen = self.facts.kind.lower()
        return [
            f"`{self.sample.name}`",
            " or ".join(kind.lower() for kind in kinds),
            self.rules.kind.lower(),
            seen if self.right else f"**{seen}**",
            by,
        ]


def write(
    path: Path,
    published: bool,
    facts: Mapping[str, Any],
    drawn: Confusion,
    rows: Sequence[RealRow],
    taken: Mapping[str, Measure],
) -> None:
    plot = Path("img/gate.png") if published else Path("gate.png")
    (path.parent / plot).parent.mkdir(parents=True, exist_ok=True)
    draw_confusion(path.parent / plot, drawn)
    right = sum(row.right for row in rows)
    real = table(["picture", "label", "rules", "gate", "confidence"], (row.cells for row in rows), left=4)
    write_page(path, TEMPLATE, taken, plot=plot, real=real, right=right, pictures=len(rows), **facts)


def trained() -> dict[str, object]:
    """What the page says of the shipped weights, of their training, and of the machine that measures."""
    stage = GateStage()
    return {
        "weights": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
        "drawn": SHARD * sum(stage.shards.values()),
        "steps": stage.steps,
        "batch": stage.batch,
        "machine": "{cpu}, {cores} cores".format_map(host()),
        "day": datetime.now(UTC).date(),
    }


def by_kind(splits: Mapping[str, Confusion]) -> str:
    """A row for each kind: how many are right of how many, in each split."""
    rows = []
    for kind in KINDS:
        counts = [count for part in splits.values() for count in (part.counts[kind, kind], part.total(kind))]
        rows.append(f"| {kind.lower()} | {' | '.join(map(str, counts))} |")
    return "\n".join(rows)


def draw_confusion(path: Path, drawn: Confusion) -> None:
    """A row for each drawn kind: the percentage of its pictures that was judged to be each kind."""
    judged = drawn.judged
    totals = {kind: drawn.total(kind) for kind in KINDS}
    shares = [[100 * drawn.counts[kind, each] / max(1, totals[kind]) for each in judged] for kind in KINDS]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, values in enumerate(shares):
        for column, share in enumerate(values):
            if share:
                colour = "white" if share > 50 else "black"
                axes.text(column, row, f"{share:.1f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(judged)), [kind.lower() for kind in judged], rotation=30, ha="right")
    axes.set_yticks(range(len(KINDS)), [kind.lower() for kind in KINDS])
    axes.set_xlabel("judged")
    axes.set_ylabel("drawn")
    axes.set_title("Judged kinds of held-out pictures, % of each drawn kind")
    figure.savefig(path, dpi=120)
