"""BuildKit accepts the Dockerfile without a warning, and reads the same steps as we do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose import ROOT
from tests.deploy.dockerfile import FILE, arguments, stages

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def buildkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tools/dockerfile, built."""
    if not shutil.which("go"):
        (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)("Go is not installed")
    program = tmp_path_factory.mktemp("buildkit") / "dockerfile"
    command = ["go", "build", "-p", "1", "-ldflags=-s", "-o", str(program), "."]
    subprocess.run(command, cwd=ROOT / "tools" / "dockerfile", check=True)
    return program


def read(program: Path, file: Path) -> dict[str, Any]:
    done = subprocess.run([str(program), str(file)], capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_buildkit_has_no_warning(buildkit: Path) -> None:
    assert read(buildkit, FILE)["warnings"] == []


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("FROM build AS wheel", "FROM build as wheel", "FromAsCasing"),
        ("COPY fovea fovea", "COPY fovea ${NOWHERE}", "UndefinedVar"),
        ('CMD ["python", "-m", "gateway_svc"]', "CMD python -m gateway_svc", "JSONArgsRecommended"),
    ],
)
def test_buildkit_warns_of_a_mistake(
    buildkit: Path, tmp_path: Path, before: str, after: str, rule: str
) -> None:
    source = FILE.read_text()
    assert before in source
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(source.replace(before, after).replace("# check=error=true\n", ""))
    assert any(warning.startswith(f"{rule}:") for warning in read(buildkit, spoilt)["warnings"])


def test_buildkit_refuses_what_is_no_dockerfile(buildkit: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nCOPI a b\n")
    done = subprocess.run(
        [str(buildkit), str(tmp_path / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "COPI" in done.stderr


def test_buildkit_reads_the_steps_that_the_tests_execute(buildkit: Path) -> None:
    def plain(text: str) -> str:
        return re.sub(r"[\s\\]+", " ", text).strip()

    theirs = read(buildkit, FILE)["stages"]
    ours = stages()
    assert [stage["name"] for stage in theirs] == list(ours)
    for stage in theirs:
        mine = ours[stage["name"]]
        assert stage["base"] == mine.base
        steps = [(step["word"], plain(step["rest"])) for step in stage["instructions"]]
        assert steps == [(step.word, plain(step.rest)) for step in mine.steps], stage["name"]
    assert set(arguments()) == {"BASE", "BUILD_BASE"}
