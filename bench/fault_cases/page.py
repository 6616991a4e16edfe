"""Writes what a case measured into the table of docs/failure-modes.md, in place of its earlier rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from bench.host import commit, host
from bench.result import Measure

HEADING = "## Measured"
HEAD = ("case", "measure", "value", "unit", "n", "target", "met", "run")


def publish(path: Path, order: Sequence[str], case: str, measures: Mapping[str, Measure]) -> None:
    """Replace the rows of `case` in the table under `HEADING`; `order` is that of the cases."""
    text = path.read_text(encoding="utf-8")
    before, _, section = text.partition(HEADING)
    lines = section.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|")) + 2
    rows = [line for line in lines[first:] if line.startswith("|")]
    after = lines[first + len(rows) :]
    rows = [row for row in rows if _case(row) != case] + _rows(case, measures)
    rows.sort(key=lambda row: order.index(_case(row)))  # stable: measures keep their order
    path.write_text(before + HEADING + "\n".join([*lines[:first], *rows, *after]) + "\n", encoding="utf-8")


def _case(row: str) -> str:
    return row.split("|")[1].strip().strip("`")


def _rows(case: str, measures: Mapping[str, Measure]) -> list[str]:
    run = f"{date.today()}, {(commit() or 'no commit')[:7]}, {host()['cores']} cores"
    return [_row(case, name, measure, run) for name, measure in measures.items()]


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _row(case: str, name: str, measure: Measure, run: str) -> str:
    value = "not measured" if measure.value is None else _shown(measure.value)
    target = "" if measure.target is None else f"{measure.sense} {measure.target:g}"
    met = {None: "", True: "yes", False: "**no**"}[measure.met]
    cells = (f"`{case}`", f"`{name}`", value, measure.unit, str(measure.n), target, met, run)
    return f"| {' | '.join(cells)} |"
