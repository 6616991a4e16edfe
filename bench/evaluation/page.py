"""Writes the page of `make eval`, and the plot from half size to native with blank and chance.

The page of `bench.economy` shares its templates, tables and panels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # needs no display

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.bounds import Bounded
from bench.evaluation.scores import TIERS, Score
from bench.result import Measure

TEMPLATE = Path(__file__).with_name("page.md")
BOUNDS = "95 % bounds"
VIEWS = ("native", "half size", "native less half, points", "blank")
# Drawn in this order: the dot of the native size stays visible inside a hollow square.
MARKS: dict[str, dict[str, Any]] = {
    "blank": {"marker": "x", "s": 26, "color": "#888888"},
    "half": {"marker": "s", "s": 60, "facecolors": "none", "edgecolors": "#e08e26", "linewidths": 1.6},
    "native": {"marker": "o", "s": 22, "color": "#1b6ca8"},
}
NAMES = {"native": "native size", "half": "half size", "blank": "blank image"}
ROW_INCHES = 0.24
TARGETS_HEAD = ("measure", "value", BOUNDS, "target", "met")


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
    write_page(path, TEMPLATE, measures, plot=plot, **tables, **facts)
    title = "{model}: {per_kind:,} held-out questions of each kind, seed {seed}".format_map(facts)
    draw(path.parent / plot, kinds, title)


def _table(scores: Sequence[Score]) -> str:
    columns = [*head(("kind", "tier", "n"), VIEWS), "chance"]
    return table(columns, (_row(score) for score in scores), left=2)


def _row(score: Score) -> list[str]:
    native, half, blank = (bounded(score.views[view].scaled(100)) for view in ("native", "half", "blank"))
    lost, chance = bounded(score.lost.scaled(100), "+.1f"), f"{100 * score.chance:.1f}"
    return [f"`{score.name}`", score.tier, f"{score.n:,}", *native, *half, *lost, *blank, chance]


def draw(path: Path, kinds: Sequence[Score], title: str) -> None:
    """Write the plot; coarse kinds above, fine kinds below, all on an axis from 0 to 100."""
    tiers = [[score for score in kinds if score.tier == tier] for tier in TIERS]
    rows = [len(tier) for tier in tiers]
    size = (8, 1.6 + ROW_INCHES * sum(rows))
    with panels(path, (4, 0.04), len(tiers), 1, sharex=True, figsize=size, height_ratios=rows) as axes:
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
    add_grid(axis, axis="x")


def write_page(path: Path, template: Path, measures: Mapping[str, Measure], **values: Any) -> None:
    """Write a page; `values` and the table of `targets` fill the template."""
    text = template.read_text(encoding="utf-8").format(targets=targets(measures), **values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """All columns but the first `left` are aligned to the right."""
    rule = "|" + "---|" * left + "---:|" * (len(columns) - left)
    lines = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([f"| {' | '.join(columns)} |", rule, *lines])


def head(plain: Sequence[str], figures: Sequence[str]) -> list[str]:
    """Names of columns. Every figure has its bounds in the next column, as `bounded` writes them."""
    return [*plain, *(name for figure in figures for name in (figure, BOUNDS))]


def targets(measures: Mapping[str, Measure]) -> str:
    """A row for each measure with a target."""
    rows = (_target(name, measure) for name, measure in measures.items() if measure.target is not None)
    return table(TARGETS_HEAD, rows)


def bounded(figure: Bounded, form: str = ".1f") -> list[str]:
    """Two cells, the value and its bounds: `97.2`, `96.0 to 98.1`."""
    value, lower, upper = (format(number, form) for number in (figure.value, figure.lower, figure.upper))
    return [value, f"{lower} to {upper}"]


@contextmanager
def panels(path: Path, legend: tuple[int, float], *shape: int, **options: Any) -> Iterator[Sequence[Axes]]:
    """Axes to draw on; the PNG is written when the block ends. `legend` is its columns and its height."""
    figure, axes = pyplot.subplots(*shape, **options)
    yield axes
    columns, height = legend
    entries = axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="lower center", ncols=columns, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, height, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def add_grid(panel: Axes, **options: Any) -> None:
    panel.grid(color="#eeeeee", **options)
    panel.set_axisbelow(True)


def _target(name: str, measure: Measure) -> list[str]:
    bounds = "" if measure.lower is None else f"{measure.lower:.3f} to {measure.upper:.3f}"
    value = "not measured" if measure.value is None else f"{measure.value:.3g}"
    met = "yes" if measure.met else "no"
    return [f"`{name}`", value, bounds, f"{measure.sense} {measure.target:g}", met]
