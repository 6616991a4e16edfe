"""The commands of deploy/k8s/README.md, run with a kubectl that only notes what it is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.kubernetes.manifests import FOLDER, Secrets

TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")
CREATE = ["-n", "fovea", "create", "secret", "generic"]


def block(word: str) -> str:
    """The block of commands that has this word."""
    (found,) = [each for each in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S) if word in each]
    return str(found)


def run(commands: str, kubectl: str, folder: Path) -> str:
    """The output of commands in a folder. `kubectl` is what stands for it, a shell command."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = f"set -euo pipefail\nkubectl() {{ {kubectl}; }}\n{commands}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def make_secrets(folder: Path) -> Secrets:
    """The Secrets that the commands create. Their files are in the folder afterwards."""
    run(block("fovea-tokens"), 'echo "$*" >> told', folder)
    told = [line.split() for line in (folder / "told").read_text().splitlines()]
    assert all(words[:5] == CREATE and set(words[6::2]) == {"--from-file"} for words in told), told
    return {words[5]: dict(_file(folder, source) for source in words[7::2]) for words in told}


def _file(folder: Path, source: str) -> tuple[str, str]:
    """Key and content of `key=path`, or of a path that is its own key."""
    key, _, path = source.rpartition("=")
    return key or path, (folder / path).read_text()
