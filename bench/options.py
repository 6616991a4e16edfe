"""The flags that every bench takes, and the last thing it does: the JSON line and the exit status.

Knows no measure. A failure ends with the same kind of line, `error` in the place of the figures, and status
1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass

from bench.result import Result
from fovea.contract.errors import FoveaError


@dataclass(frozen=True)
class Options:
    """`quick` stays under 50 s and is for trying things out; its bounds are wide."""

    quick: bool
    seed: int
    check: bool

    @classmethod
    def of(cls, flags: argparse.Namespace) -> Options:
        return cls(flags.quick, flags.seed, flags.check)


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="under 50 s; the bounds are wide")
    made.add_argument("--seed", type=int, default=0, help="draw other inputs [default 0]")
    made.add_argument("--check", action="store_true", help="exit 0 only if every measure taken is met")
    return made


def finish(bench: str, check: bool, run: Callable[[], Result]) -> int:
    """Run the bench and print its last line. Returns the exit status."""
    try:
        result = run()
    except FoveaError as error:
        return _failed(bench, error.code.name, error.reason, str(error))
    except OSError as error:
        return _failed(bench, "UNAVAILABLE", type(error).__name__, str(error))
    print(json.dumps(result.as_json()), flush=True)
    return 0 if result.ok or not check else 1


def _failed(bench: str, code: str, reason: str, message: str) -> int:
    error = {"code": code, "reason": reason, "message": message, "metadata": {}}
    print(json.dumps({"schema": 1, "bench": bench, "error": error}), flush=True)
    return 1
