"""The Go and Java READMEs say how to use the clients before they are published; a new project does so.

The project is outside of the repository, and runs the commands, the files and the program of the README.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from standin import model_dir
from tests.docs.page import blocks
from tests.docs.shell import DECODER, GUARD_S, ROOT, Addresses

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
CLIENTS = ROOT / "clients"
CHART = model_dir().parent / "samples" / "chart.png"


def readme(client: str) -> str:
    return (CLIENTS / client / "README.md").read_text(encoding="utf-8")


def first_block(page: str, language: str) -> str:
    match = re.search(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
    assert match is not None
    return match[1]


def require(program: str) -> None:
    """Skip without the program, or fail if nothing may be skipped."""
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(f"{program} is not installed")


def run_commands(page: str, folder: Path, addresses: Addresses, **variables: str) -> str:
    """The output of all `sh` blocks, in a folder with the image that the program asks about."""
    shutil.copy(CHART, folder)
    script = "set -e\n" + "".join(block.command for block in blocks(page)).replace(DECODER, addresses.decoder)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=os.environ | {"FOVEA": str(ROOT)} | variables, text=True,
        capture_output=True, timeout=GUARD_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def private_maven_repository(folder: Path) -> Path:
    """The user's local repository, linked where possible, so that nothing is installed into it."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    used = Path.home() / ".m2" / "repository"
    if used.is_dir():
        shutil.copytree(used, folder, copy_function=link)
    return folder


@pytest.fixture
def services(request: pytest.FixtureRequest) -> Callable[[], Addresses]:
    """Starts the services only after the test has checked its tools."""
    return lambda: request.getfixturevalue("addresses")


def test_go_project_uses_the_module_before_it_is_published(
    tmp_path: Path, services: Callable[[], Addresses]
) -> None:
    require("go")
    page, addresses = readme("go"), services()
    (tmp_path / "main.go").write_text(first_block(page, "go").replace(DECODER, addresses.decoder))
    output = run_commands(page, tmp_path, addresses)
    assert output.startswith("yellow\n\nIMAGE"), output


def test_java_project_uses_the_artifact_before_it_is_published(
    tmp_path: Path, services: Callable[[], Addresses]
) -> None:
    require("mvn")
    page, addresses = readme("java"), services()
    project, repository = tmp_path / "ask", private_maven_repository(tmp_path / "repository")
    sources = project / "src" / "main" / "java"
    sources.mkdir(parents=True)
    (project / "pom.xml").write_text(first_block(page, "xml"))
    (sources / "Shortest.java").write_text(first_block(page, "java"))
    options = f"{os.environ.get('MAVEN_OPTS', '')} -Dmaven.repo.local={repository}"
    output = run_commands(page, project, addresses, MAVEN_OPTS=options.strip())
    assert "yellow\nimage " in output, output  # Maven writes an escape sequence before it
