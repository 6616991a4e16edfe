"""The wheels: Fovea's without the stand-in, and that of the stand-in without its training."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = Path(np.__file__).parents[1]
SIZE_LIMIT = 5e6  # bytes


def built(project: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def fovea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("fovea"))


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT / "standin", tmp_path_factory.mktemp("standin"))


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_services_and_no_checkpoint(fovea: Path) -> None:
    held = files(fovea)
    assert {name.split("/")[0] for name in held} == {"fovea", "encoder_svc", "decoder_svc", "gateway_svc"}
    assert not [name for name in held if name.endswith(".safetensors")]
    assert fovea.stat().st_size < SIZE_LIMIT


def test_the_wheel_of_the_stand_in_holds_checkpoints_and_samples_only(standin: Path) -> None:
    held = files(standin)
    assert {name.split("/")[1] for name in held} == {"__init__.py", "model", "small", "samples"}
    for folder in ("model", "small", "samples"):
        here = {f"standin/{folder}/{path.name}" for path in (ROOT / "standin" / folder).iterdir()}
        assert {name for name in held if name.startswith(f"standin/{folder}/")} == here


def test_both_wheels_have_one_version() -> None:
    projects = [
        tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"] for part in ("", "standin")
    ]
    assert [project["name"] for project in projects] == ["fovea", "fovea-standin"]
    assert len({project["version"] for project in projects}) == 1


def run(folder: Path, wheels: list[Path], program: str) -> subprocess.CompletedProcess[str]:
    """With these wheels alone: -S leaves out this checkout, which is installed by a .pth file."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    prepared = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(SITE_PACKAGES)!r}]; {program}"
    command = [sys.executable, "-S", "-c", prepared]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["demo", "serve"])
def test_a_command_without_the_stand_in_says_what_to_install(
    fovea: Path, tmp_path: Path, command: str
) -> None:
    program = f"from fovea.cli import main; sys.argv = ['fovea', '{command}']; main()"
    done = run(tmp_path, [fovea], program)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "fovea: the stand-in is not installed: in a checkout of Fovea, pip install ./standin"
    )
    assert done.stderr.count("\n") == 1


def test_the_samples_are_found_in_both_wheels(fovea: Path, standin: Path, tmp_path: Path) -> None:
    program = "from fovea.cli.samples import load; print([s.path.is_file() for s in load()], load()[0].path)"
    done = run(tmp_path, [fovea, standin], program)
    assert done.stdout.strip() == f"[True, True, True, True] {tmp_path / 'standin' / 'samples' / 'chart.png'}"
