"""What a run of `make eval` writes: the page, and the plot from half size to native with blank and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from bench.evaluation import report
from bench.evaluation.report import bounded, table
from bench.evaluation.scores import TIERS, Score
from bench.result import Measure

TEMPLATE = Path(__file__).with_name("page.md")
HEAD = ("kind", "tier", "n", "native", "half size", "native less half, points", "blank", "chance")
# Drawn in this order: the dot of the native size stays visible inside a hollow square.
MARKS: dict[str, dict[str, Any]] = {
    "blank": {"marker": "x", "s": 26, "color": "#888888"},
    "half": {"marker": "s", "s": 60, "facecolors": "none", "edgecolors": "#e08e26", "linewidths": 1.6},
    "native": {"marker": "o", "s": 22, "color": "#1b6ca8"},
}
NAMES = {"native": "native size", "half": "half size", "blank": "blank image"}
ROW_INCHES = 0.24


def write(
    path: Path,
    facts: Mapping[str, Any],
    kinds: Sequence[Score],
    tiers: Sequence[Score],
    measures: Mapping[str, Measure],
) -> None:
    """The page, and the plot in img/ beside it; `facts` are the model, the set and what the run cost."""
    plot = Path("img") / f"{path.stem}.png"
    tables = {"by_tier": _table(tiers), "by_kind": _table(kinds)}
    report.write(path, TEMPLATE, measures, plot=plot, **tables, **facts)
    title = "{model}: {per_kind:,} held-out questions of each kind, seed {seed}".format_map(facts)
    draw(path.parent / plot, kinds, title)


def _table(scores: Sequence[Score]) -> str:
    return table(HEAD, (_row(score) for score in scores), left=2)


def _row(score: Score) -> list[str]:
    native, half, blank = (bounded(score.views[view].scaled(100)) for view in ("native", "half", "blank"))
    lost, chance = bounded(score.lost.scaled(100), "+.1f"), f"{100 * score.chance:.1f}"
    return [f"`{score.name}`", score.tier, f"{score.n:,}", native, half, lost, blank, chance]


def draw(path: Path, kinds: Sequence[Score], title: str) -> None:
    """Write the plot; coarse kinds above, fine kinds below, all on an axis from 0 to 100."""
    tiers = [[score for score in kinds if score.tier == tier] for tier in TIERS]
    rows = [len(tier) for tier in tiers]
    size = (8, 1.6 + ROW_INCHES * sum(rows))
    with report.panels(path, (4, 0.04), len(tiers), 1, sharex=True, figsize=size, height_ratios=rows) as axes:
        for axis, name, scores in zip(axes, TIERS, tiers, strict=True):
            _draw_tier(axis, name, scores)
        axes[0].set_title(title, fontsize=10)
        axes[-1].set_xlabel("right answers, percent")


def _draw_tier(axis: Axes, name: str, scores: Sequence[Score]) -> None:
    rows = range(len(scores))
    points = {view: [100 * score.views[view].value for score in scores] for view in MARKS}
    axis.hlines(rows, points["half"], points["native"], colors="#cccccc", linewidth=2, zorder=1)
    chance = [100 * score.chance for score in scores]
    axis.scatter(chance, rows, marker="|", s=70, color="black", label="chance", zorder=2)
    for view, mark in MARKS.items():
        axis.scatter(points[view], rows, label=NAMES[view], zorder=3, **mark)
    axis.set_yticks(rows, [score.name for score in scores], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(-2, 102)
    axis.set_ylabel(name)
    report.add_grid(axis, axis="x")
