"""Pages in Markdown, filled into templates, with tables and plots. Formats measures and computes nothing."""

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
from bench.result import Measure

TARGETS_HEAD = ("measure", "value", "95 % bounds", "target", "met")


def write(path: Path, template: Path, measures: Mapping[str, Measure], **values: Any) -> None:
    """Write a page; `values` and the table of `targets` fill the template."""
    text = template.read_text(encoding="utf-8").format(targets=targets(measures), **values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """All columns but the first `left` are aligned to the right."""
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    lines = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([f"| {' | '.join(head)} |", rule, *lines])


def targets(measures: Mapping[str, Measure]) -> str:
    """A row for each measure with a target."""
    rows = (_target(name, measure) for name, measure in measures.items() if measure.target is not None)
    return table(TARGETS_HEAD, rows)


def bounded(figure: Bounded, form: str = ".1f") -> str:
    """A value with its bounds: `97.2 (96.0 to 98.1)`."""
    value, lower, upper = (format(number, form) for number in (figure.value, figure.lower, figure.upper))
    return f"{value} ({lower} to {upper})"


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
