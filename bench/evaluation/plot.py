"""The plot of a run of `make eval`: a line per kind, from half size to native, with blank and chance beside.

Knows scores and matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed, or looked for

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.evaluation.scores import TIERS, Score

# Drawn in this order: a hollow square lets the dot of the native size be seen inside.
MARKS: dict[str, dict[str, Any]] = {
    "blank": {"marker": "x", "s": 26, "color": "#888888"},
    "half": {"marker": "s", "s": 60, "facecolors": "none", "edgecolors": "#e08e26", "linewidths": 1.6},
    "native": {"marker": "o", "s": 22, "color": "#1b6ca8"},
}
NAMES = {"native": "native size", "half": "half size", "blank": "blank image"}
ROW_INCHES = 0.24


def draw(path: Path, kinds: Sequence[Score], title: str) -> None:
    """Write a PNG; coarse kinds above, fine ones below, all on one axis from 0 to 100."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tiers = [[score for score in kinds if score.tier == tier] for tier in TIERS]
    heights = [len(tier) for tier in tiers]
    figure, axes = pyplot.subplots(
        len(tiers), 1, sharex=True, figsize=(8, 1.6 + ROW_INCHES * sum(heights)), height_ratios=heights
    )
    for axis, name, scores in zip(axes, TIERS, tiers, strict=True):
        _tier(axis, name, scores)
    axes[0].set_title(title, fontsize=10)
    axes[-1].set_xlabel("right answers, percent")
    marks = axes[0].get_legend_handles_labels()
    figure.legend(*marks, loc="lower center", ncols=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _tier(axis: Axes, name: str, scores: Sequence[Score]) -> None:
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
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
