"""What the README shows of the command is what the command prints, before its receipt."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.docs.shell import ROOT, Addresses

pytestmark = pytest.mark.clients
SHOWN = re.findall(
    r"^\$ fovea (.*)\n((?:(?!\$|```).*\n)+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M
)


@pytest.mark.parametrize(("arguments", "output"), SHOWN, ids=[arguments for arguments, _ in SHOWN])
def test_a_command_prints_what_stands_below_it(addresses: Addresses, arguments: str, output: str) -> None:
    command = [sys.executable, "-m", "fovea.cli", *shlex.split(arguments)]
    environ = os.environ | {"FOVEA_DECODER": addresses.decoder, "FOVEA_ENCODER": addresses.encoder}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, text=True, capture_output=True, check=True, timeout=600
    )
    assert done.stdout.startswith(output)


def test_something_is_shown() -> None:
    assert SHOWN
