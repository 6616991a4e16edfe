"""Breaks a part of the services under load, and counts what callers and the store lost.

Each case is a module of `bench.fault_cases` with a function `measure(run) -> Result`. A full run with
`--publish` writes its figures to docs/failure-modes.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib import import_module

from bench import runner
from bench.fault_cases import page
from bench.host import ROOT
from bench.result import Measure, Result
from bench.runner import Run

CASES = {
    "encoder-kill": "encoder_kill",
    "encoder-silent": "encoder_silent",
    "store-kill": "store_kill",
    "decoder-kill": "decoder_kill",
    "rolling": "rolling",
    "disk": "disk",
    "overload": "overload",
    "bombs": "bombs",
    "fuzz": "fuzz",
    "clients": "clients",
    "tenants": "tenants",
    "keys": "keys",
    "soak": "soak",
}
"""The module of each case."""
TIMED = ("ms", "s", "ratio", "AUC", "MiB")
"""Units of measures without a target in a quick run: a busy machine would decide them."""
PAGE = ROOT / "docs" / "failure-modes.md"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", choices=CASES, required=True, help="what to break")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long soak runs [default 60]")
    parser.add_argument("--publish", action="store_true", help="write the figures to docs/failure-modes.md")


def measure(run: Run) -> Result:
    case = run.flags.case
    result: Result = import_module(f"bench.fault_cases.{CASES[case]}").measure(run)
    measures = result.measures
    if run.quick:
        measures = {name: _counted(measure) for name, measure in measures.items()}
    elif run.flags.publish:
        page.publish(PAGE, list(CASES), case, measures)
    return replace(result, config={"case": case, **result.config}, measures=measures)


def _counted(measure: Measure) -> Measure:
    return replace(measure, target=None) if measure.unit in TIMED else measure


if __name__ == "__main__":
    runner.main("faults", "Break a part of the services and count what is lost.", measure, add_flags)
