"""The lock files of the images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.compose import ROOT

FOLDER = ROOT / "requirements"


def entries(lock: Path) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Name, version and hashes of each entry."""
    for entry in re.split(r"\n(?=\w)", lock.read_text(encoding="utf-8")):
        name, version = re.match(r"([\w.-]+)(?:\[.*\])?==([^\s;]+)", entry).groups()  # type: ignore[union-attr]
        yield name, version, frozenset(re.findall(r"--hash=(\S+)", entry))


def locked(lock: Path) -> dict[str, str]:
    """The version of each package."""
    return {name: version for name, version, _ in entries(lock)}


def names(file: Path) -> set[str]:
    """The packages that a list names, such as requirements/cuda.in."""
    return {line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")}
