"""The commands and programs of the README, and the programs of docs/tools.md, run as written.

Each Python block runs in its own process, so that it needs no import that is not shown.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from standin import model_dir
from tests.docs.shell import GUARD_S, ROOT, Addresses
from tests.fovea.client.papers import A4, pdf

pytestmark = pytest.mark.clients
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^\$ fovea (.*)\n((?:(?!\$|```).*\n)*)", README, re.M)
TYPED = re.findall(r"^\.venv/bin/fovea ((?!serve).*)\n", README, re.M)
COMMANDS = [*SHOWN, *((arguments, "") for arguments in TYPED)]
TOOLS = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README + TOOLS, re.M | re.S)
SAMPLES = model_dir().parent / "samples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the README names."""
    for name in ("chart.png", "invoice.png"):
        shutil.copy(SAMPLES / "chart.png", tmp_path / name)
    shutil.copy(SAMPLES / "chart.png", tmp_path / "photo.jpg")
    (tmp_path / "report.pdf").write_bytes(pdf([A4] * 3))
    (tmp_path / "standin").symlink_to(ROOT / "standin")
    return tmp_path


def run(command: list[str], folder: Path, addresses: Addresses) -> str:
    environ = os.environ | {"FOVEA_DECODER": addresses.decoder, "FOVEA_ENCODER": addresses.encoder}
    done = subprocess.run(
        command, cwd=folder, env=environ, text=True, capture_output=True, timeout=GUARD_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("arguments", "output"), COMMANDS, ids=[arguments for arguments, _ in COMMANDS])
def test_a_command_runs_and_prints_what_stands_below_it(
    addresses: Addresses, folder: Path, arguments: str, output: str
) -> None:
    command = [sys.executable, "-m", "fovea.cli", *shlex.split(arguments, comments=True)]
    assert run(command, folder, addresses).startswith(output)


@pytest.mark.parametrize("code", PYTHON)
def test_python_runs_with_the_imports_that_are_shown(addresses: Addresses, folder: Path, code: str) -> None:
    here = code.replace("Client()", f"Client({addresses.decoder!r})")
    assert here != code
    run([sys.executable, "-I", "-c", here], folder, addresses)


def test_the_readme_shows_every_kind_of_block() -> None:
    assert [output for _, output in SHOWN if output]
    assert len(PYTHON) == (README + TOOLS).count("```python")
    assert len(PYTHON) > 1
    assert len(TYPED) > 1
