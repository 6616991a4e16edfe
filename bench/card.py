"""What a bench prints for people: a table of its measures. Goes to stderr, so that stdout is for machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.result import Measure, Result

WIDTH = 110
"""Of a log; a terminal has its own."""


def show(title: str, result: Result, facts: Sequence[str] = (), notes: Sequence[str] = ()) -> None:
    """One row a measure; `facts` are shown above it, `notes` below, a line each."""
    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH)
    table = Table(title=", ".join([title, *facts]), title_justify="left", show_edge=False)
    table.add_column("measure", no_wrap=True)
    for name in ("value", "95 % bounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("unit", "n", "target", "met"):
        table.add_column(name)
    for name, measure in result.measures.items():
        table.add_row(name, *_cells(measure))
    console.print(table)
    for note in notes:
        console.print(f"  {note}")


def _cells(measure: Measure) -> tuple[str, ...]:
    bounds = "" if measure.lower is None else f"{_figure(measure.lower)} to {_figure(measure.upper)}"
    target = "" if measure.target is None else f"{measure.sense} {measure.target:g}"
    met = {None: "", True: "yes", False: "[bold red]no[/]"}[measure.met]
    return _figure(measure.value), bounds, measure.unit, str(measure.n), target, met


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
