"""Machine and software of a measurement: processor, cores, GPU, commit, versions. Measures nothing."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fovea.machine import cores

ROOT = Path(__file__).resolve().parent.parent


def host() -> dict[str, Any]:
    """`cores` counts those that this process may use; `gpu` is null without a GPU."""
    return {"cpu": _cpu(), "cores": cores(), "gpu": _gpu()}


def commit() -> str | None:
    """The commit that is checked out; null outside of a git checkout."""
    return _git("rev-parse", "HEAD")


def dirty() -> bool | None:
    """Whether the tree differs from the commit, untracked files included."""
    changes = _git("status", "--porcelain")
    return None if changes is None else bool(changes)


def side(package: str, args: str = "", **figures: Any) -> dict[str, Any]:
    """A side of a comparison: the version of its package, how it was run, and its own figures."""
    return {"version": version(package), "args": args, **figures}


def _cpu() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    """The names of all GPUs according to the driver, so that torch need not be loaded."""
    models = [
        line.partition(":")[2].strip()
        for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        for line in _lines(card)
        if line.startswith("Model")
    ]
    return ", ".join(models) or None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
