"""The Dockerfile, as far as it can be checked without a build."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT, services
from tests.deploy.dockerfile import FILE, copies, steps

IGNORE = FILE.with_name("Dockerfile.dockerignore")


def of(word: str) -> list[str]:
    return [step.rest for step in steps() if step.word == word]


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
    assert {"requirements.lock", "pyproject.toml", "fovea", "encoder_svc", "decoder_svc"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


@pytest.mark.parametrize(
    "path",
    [".git/HEAD", ".venv/bin/python", "tests/tiny.py", "var/encoder/data.mdb", "fovea/__pycache__/ids.pyc",
     "standin/control/model.safetensors", "deploy/Dockerfile", "notes.txt"],
)  # fmt: skip
def test_other_files_are_ignored_by_the_builder(path: str) -> None:
    assert ignored(path)


def test_the_packages_of_the_project_are_all_copied_before_they_are_installed() -> None:
    packages = re.search(r"packages = (\[.*\])", (ROOT / "pyproject.toml").read_text())
    assert packages
    assert set(re.findall(r'"(\w+)"', packages[1])) <= {source for source, _ in copies()}


def test_both_stages_use_the_same_slim_base_image() -> None:
    bases = [rest.split()[0] for rest in of("FROM")]
    assert set(bases) == {"python:3.11-slim"}
    assert len(bases) == 2


def test_everything_is_installed_from_the_lock_with_hashes() -> None:
    runs = " && ".join(of("RUN"))
    installs = re.findall(r"(?:uv )?pip (?:install|sync) [^&]*", runs)
    from_lock = [command for command in installs if ".lock" in command]
    assert len(from_lock) == 2
    assert all("--require-hashes" in command for command in from_lock)
    (own,) = [command for command in installs if command not in from_lock]
    assert "--no-deps" in own
    assert "--no-build-isolation" in own


def test_the_installer_is_cut_out_of_the_lock_whole() -> None:
    """The `sed` of the Dockerfile, in Python: a single requirement with its hashes."""
    lines = (ROOT / "requirements.lock").read_text()
    (entry,) = re.findall(r"^uv==.*?# via[^\n]*", lines, re.MULTILINE | re.DOTALL)
    assert "sed -n '/^uv==/,/# via/p' requirements.lock" in " ".join(of("RUN"))
    assert entry.count("==") == 1
    assert "--hash=sha256:" in entry


def test_the_image_runs_as_a_user_who_owns_the_store() -> None:
    (user,) = of("USER")
    assert int(user) > 0
    (made,) = [run for run in of("RUN") if "useradd" in run]
    assert f"--uid {user}" in made
    assert steps()[-1].word == "USER"
    for service in services().values():
        for folder in service.folders:
            assert f"--owner fovea {folder}" in made


def test_the_models_of_the_compose_file_are_in_the_image() -> None:
    there = {destination for _, destination in copies()}
    for service in services().values():
        models = {value for name, value in service.environment.items() if name.endswith("CODER_MODEL")}
        assert models or service.package == "gateway_svc"
        assert models <= there
