"""The plot of a run of `bench/economy.py`: accuracy against visual tokens, a point a policy, a panel a tier.

Knows outcomes and matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed, or looked for

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.economics.asking import Outcomes
from bench.economics.losses import accuracy
from bench.economics.page import TIERS
from bench.economics.policies import FLAT, FLAT_NEAR, GAIN, OFF, RATIOS, REDUCERS, reduced

COLOURS = {
    "scope": "#1b6ca8", "divprune": "#4aa564", "stride": "#e08e26", "random": "#888888", "resize": "#b03a48",
}  # fmt: skip
ALONE = {OFF.name: "*", FLAT.name: "s", FLAT_NEAR.name: "D", GAIN.name: "P"}


def draw(path: Path, outcomes: Outcomes, title: str) -> None:
    """Write a PNG: all questions, coarse ones, fine ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(1, len(TIERS), figsize=(11, 4.2))
    for axis, (tier, kinds) in zip(axes, TIERS.items(), strict=True):
        _panel(axis, outcomes, kinds)
        axis.set_title(f"{tier} questions", fontsize=10)
        axis.set_xlabel("visual tokens a question")
    axes[0].set_ylabel("right answers, percent")
    figure.suptitle(title, fontsize=10)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False, fontsize=9
    )
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axis: Axes, outcomes: Outcomes, kinds: tuple[str, ...]) -> None:
    def points(names: list[str]) -> tuple[list[float], list[float]]:
        tokens = [float(outcomes.tokens[name].mean()) for name in names]
        return tokens, [accuracy(outcomes, name, kinds).value for name in names]

    for reducer in REDUCERS:
        names = [OFF.name, *(reduced(reducer, mode) for mode in RATIOS)]
        axis.plot(*points(names), marker="o", markersize=4, color=COLOURS[reducer], label=reducer)
    for name, mark in ALONE.items():
        axis.scatter(*points([name]), marker=mark, s=60, color="black", label=name, zorder=3)
    axis.grid(color="#eeeeee")
    axis.set_axisbelow(True)
