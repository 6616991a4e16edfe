"""Where the stand-in is, if its package `fovea-standin` is installed. A checkout has it too."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fovea.cli.errors import StandinNotInstalled


def standin_dir() -> Path:
    """The folder of its checkpoint. Raises StandinNotInstalled."""
    if find_spec("standin") is None:
        raise StandinNotInstalled
    from standin import model_dir

    return model_dir()


def is_standin(folder: Path) -> bool:
    return find_spec("standin") is not None and folder == standin_dir()
