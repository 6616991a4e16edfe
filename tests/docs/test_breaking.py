"""The contract only grows after its last tag: changes that `make lint` refuses and accepts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).parent / "buf"
BASELINES = sorted((ROOT / "protos" / "baseline").iterdir())
IMAGE = "fovea/vision/v1/image.proto"
FIELD = "  // The file format.\n  ImageFormat format = 3;\n"


def breaking(protos: Path) -> subprocess.CompletedProcess[str]:
    command = [BUF, "breaking", protos, "--against", BASELINES[0]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "protos", tmp_path / "protos"))


def change(protos: Path, old: str, new: str) -> None:
    text = (protos / IMAGE).read_text()
    assert text.count(old) == 1
    (protos / IMAGE).write_text(text.replace(old, new))


def test_the_baseline_is_a_single_tag_that_the_changelog_names() -> None:
    (baseline,) = BASELINES
    assert f"`{baseline.stem}`" in (ROOT / "CHANGELOG.md").read_text()


def test_the_contract_has_only_grown() -> None:
    done = breaking(ROOT / "protos")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_removed_field_is_refused(protos: Path) -> None:
    change(protos, FIELD, "")
    done = breaking(protos)
    assert done.returncode != 0
    assert 'field "3" with name "format" on message "ImageFacts" was deleted' in done.stdout


def test_a_field_of_another_type_is_refused(protos: Path) -> None:
    change(protos, "ImageFormat format = 3;", "string format = 3;")
    assert breaking(protos).returncode != 0


def test_a_new_field_passes(protos: Path) -> None:
    change(protos, FIELD, FIELD + "  // Something new.\n  uint32 novelty = 99;\n")
    done = breaking(protos)
    assert done.returncode == 0, done.stdout + done.stderr
