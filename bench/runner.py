"""Runs a bench: its options, its working folder and status line, its card, the JSON line and the exit status.

The shape of the line is a promise to machines: fields are added, never renamed. A failure ends with the same
kind of line, with `error` instead of the measures, and status 1. The card is for people and goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rich.console import Console
from rich.table import Table

from bench.host import commit, dirty, host
from bench.result import Measure, Result
from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from bench.services import Services
    from fovea.cli.children import Launch

SCHEMA = 1
LOG_WIDTH = 110
"""Columns of a log; a terminal has its own width."""
Effort = TypeVar("Effort")


@dataclass(frozen=True)
class Run:
    """What a bench is run with: the common options, its own `flags`, a temporary folder, a status line.

    What is entered into `stack` lasts until the bench ends. `quick` stays under 50 s and is for trying things
    out; its bounds are wide.
    """

    quick: bool
    seed: int
    flags: argparse.Namespace
    folder: Path
    status: Callable[[str], object]
    stack: ExitStack

    def start(self, *launched: Launch, cores: Sequence[int] = ()) -> Services:
        """Services that are ready, until the bench ends."""
        from bench.services import started  # not needed, nor installed, where no service runs

        return self.stack.enter_context(started(launched, cores))

    def effort(self, full: Effort, quick: Effort) -> Effort:
        return quick if self.quick else full


AddFlags = Callable[[argparse.ArgumentParser], object]


def main(
    name: str, description: str, measure: Callable[[Run], Result], add_flags: AddFlags | None = None
) -> None:
    """Run a bench with the options of the command line, and exit. `add_flags` adds options of its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under 50 s; the bounds are wide")
    parser.add_argument("--seed", type=int, default=0, help="draw other inputs [default 0]")
    parser.add_argument("--check", action="store_true", help="exit 0 only if every measure taken is met")
    if add_flags is not None:
        add_flags(parser)
    flags = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the services too
    try:
        result = _measured(name, measure, flags)
    except FoveaError as error:
        _fail(name, error.code.name, error.reason, str(error))
    except OSError as error:
        _fail(name, "UNAVAILABLE", type(error).__name__, str(error))
    show(name, result)
    _print(line(name, flags.seed, flags.quick, result))
    sys.exit(0 if result.ok or not flags.check else 1)


def _measured(name: str, measure: Callable[[Run], Result], flags: argparse.Namespace) -> Result:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"fovea-{name}-"))
        status = stack.enter_context(Console(stderr=True).status("starting"))
        return measure(Run(flags.quick, flags.seed, flags, Path(folder), status.update, stack))


def _fail(name: str, code: str, reason: str, message: str) -> NoReturn:
    error = {"code": code, "reason": reason, "message": message, "metadata": {}}
    _print({"schema": SCHEMA, "bench": name, "error": error})
    sys.exit(1)


def line(name: str, seed: int, quick: bool, result: Result) -> dict[str, Any]:
    """The JSON object that a bench ends with."""
    return {
        "schema": SCHEMA,
        "bench": name,
        "commit": commit(),
        "dirty": dirty(),
        "seed": seed,
        "quick": quick,
        "host": host(),
        "config": dict(result.config),
        "dataset_digest": result.dataset_digest,
        "sides": {side: dict(facts) for side, facts in result.sides.items()},
        "measures": {measure: taken.as_json() for measure, taken in result.measures.items()},
        "owed": result.owed,
        "ok": result.ok,
    }


def show(name: str, result: Result) -> None:
    """Print the card: a row for each measure, with the facts of the run above and its notes below."""
    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else LOG_WIDTH)
    table = Table(title=", ".join([name, *result.facts]), title_justify="left", show_edge=False)
    table.add_column("measure", no_wrap=True)
    for column in ("value", "95 % bounds"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("unit", "n", "target", "met"):
        table.add_column(column)
    for measured, measure in result.measures.items():
        table.add_row(measured, *_cells(measure))
    console.print(table)
    for note in result.notes:
        console.print(f"  {note}")


def _cells(measure: Measure) -> tuple[str, ...]:
    bounds = "" if measure.lower is None else f"{_figure(measure.lower)} to {_figure(measure.upper)}"
    target = "" if measure.target is None else f"{measure.sense} {measure.target:g}"
    met = {None: "", True: "yes", False: "[bold red]no[/]"}[measure.met]
    return _figure(measure.value), bounds, measure.unit, str(measure.n), target, met


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _print(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
