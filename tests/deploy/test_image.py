"""The Dockerfile, as far as it can be checked without a build."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT, services
from tests.deploy.dockerfile import FILE, above, arguments, command, copies, stages

IGNORE = FILE.with_name("Dockerfile.dockerignore")
TARGETS = {
    "encoder-cpu": "encoder_svc",
    "encoder-cuda": "encoder_svc",
    "decoder-cpu": "decoder_svc",
    "decoder-cuda": "decoder_svc",
    "gateway": "gateway_svc",
}


def of(target: str, word: str) -> list[str]:
    return [rest for stage in above(target) for rest in stage.of(word)]


def ignored(path: str) -> bool:
    """Decides like Docker for patterns without `**/` inside a path: by the last pattern that matches the path or a parent."""
    verdict = False
    above = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    for line in IGNORE.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        if pattern.startswith("**/"):
            hit = any(fnmatch.fnmatch(folder.rpartition("/")[2], pattern[3:]) for folder in above)
        else:
            hit = any(("/" not in folder and pattern == "*") or folder == pattern for folder in above)
        if hit:
            verdict = not line.startswith("!")
    return verdict


def test_every_source_is_there_and_reaches_the_builder() -> None:
    sources = [source for source, _ in copies()]
    assert {"requirements", "pyproject.toml", "fovea", "encoder_svc", "decoder_svc"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


@pytest.mark.parametrize(
    "path",
    [".git/HEAD", ".venv/bin/python", "tests/tiny.py", "var/encoder/data.mdb", "fovea/__pycache__/ids.pyc",
     "standin/model/model.safetensors", "deploy/Dockerfile", "notes.txt"],
)  # fmt: skip
def test_other_files_are_ignored_by_the_builder(path: str) -> None:
    assert ignored(path)


def test_the_packages_of_the_wheel_are_all_copied() -> None:
    packages = re.search(r"^packages = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages
    assert set(re.findall(r'"(\w+)"', packages[1])) == {
        source for source, _ in copies() if (ROOT / source / "__init__.py").exists()
    }


def test_bases_are_pinned_to_a_full_version() -> None:
    bases = {stage.base for stage in stages().values() if stage.base not in stages()}
    assert bases == {"${BUILD_BASE}", "${BASE}"}
    built, run = arguments()["BUILD_BASE"], arguments()["BASE"]
    version = re.fullmatch(r"python:(3\.11\.\d+)-slim-bookworm", run)
    assert version
    assert built == f"python:{version[1]}-bookworm"


def test_everything_is_installed_from_a_lock_with_hashes() -> None:
    installs = [
        rest
        for stage in stages().values()
        for rest in stage.of("RUN")
        if re.search("pip (install|sync)", rest)
    ]
    from_lock = [rest for rest in installs if ".lock" in rest]
    assert len(from_lock) == 6
    assert all("--require-hashes" in rest for rest in from_lock)
    ours = [rest for rest in installs if rest not in from_lock]
    assert len(ours) == 3
    assert all("--no-deps" in rest and "from=wheel" in rest for rest in ours)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_its_service_as_a_user_who_owns_the_store(target: str) -> None:
    assert command(target) == ["python", "-m", TARGETS[target]]
    (user,) = of(target, "USER")
    assert int(user) > 0
    (made,) = [run for run in of(target, "RUN") if "useradd" in run]
    assert f"--uid {user}" in made
    for service in services().values():
        for folder in service.folders:
            assert f"--owner fovea {folder}" in made


@pytest.mark.parametrize("target", TARGETS)
def test_a_service_keeps_its_files_on_the_volume_unless_told_otherwise(target: str) -> None:
    set_here = dict(pair.split("=", 1) for line in of(target, "ENV") for pair in line.split())
    (volume,) = {folder for service in services().values() for folder in service.folders}
    assert set_here["FOVEA_ENCODER_CACHE_DIR"] == set_here["FOVEA_DECODER_LEDGER_DIR"] == volume


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_takes_over_the_environment_and_nothing_else(target: str) -> None:
    (copied,) = of(target, "COPY")
    assert re.fullmatch(rf"--from={target}-install|--from={target.split('-')[0]}-install", copied.split()[0])
    assert copied.split()[1:] == ["/opt/fovea", "/opt/fovea"]
    assert stages()[next(iter(above(target))).base].base == "${BASE}"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_for_a_cpu_hides_gpus_and_has_no_cuda_library(target: str) -> None:
    installed = " ".join(of(f"{target}-install", "RUN"))
    on_cpu, on_gpu = target.endswith("-cpu"), target.endswith("-cuda")
    assert ("CUDA_VISIBLE_DEVICES=" in of(target, "ENV")) == on_cpu
    assert ("without_cuda.py" in installed) == on_cpu
    assert ("requirements/cuda.lock" in installed) == on_gpu


def test_the_models_of_the_compose_file_are_mounted() -> None:
    for service in services().values():
        models = {value for name, value in service.environment.items() if name.endswith("CODER_MODEL")}
        assert models or service.target == "gateway"
        for model in models:
            assert (service.files[model] / "config.json").is_file()
