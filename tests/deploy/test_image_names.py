"""An image has one name: in the commands that build it, in the compose file, in the manifests and in every page."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.compose import ROOT, services
from tests.deploy.dockerfile import arguments, image
from tests.deploy.test_image import TARGETS

NAMES = {image(target): target for target in TARGETS}
INSTALL = (ROOT / "docs/install.md").read_text(encoding="utf-8")
KUSTOMIZATIONS = sorted((ROOT / "deploy/k8s").rglob("kustomization.yaml"))


def pages() -> Iterator[Path]:
    """Every page and every file of the deployment."""
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*"):
        yield from (path for path in ROOT.glob(pattern) if path.is_file())


def test_every_image_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(TARGETS)


def test_the_page_names_every_image_and_its_commands_build_them_so() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(fovea-[\w:-]+)` \|", INSTALL, re.M)
    assert {name: target for target, name in rows} == NAMES
    built = re.findall(r"^docker build .*--target (\S+) --tag (\S+) ", INSTALL, re.M)
    assert {target for target, _ in built} == {service.target for service in services().values()}
    assert all(image(target) == name for target, name in built)


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_names_another_image(path: Path) -> None:
    """A number after the colon is a port."""
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"fovea-(?:encoder|decoder|gateway):[a-z]\w*", text))
    assert named <= NAMES.keys()
    assert not re.search(r"(?:image: |--tag )fovea-[a-z]+(?![\w:-])", text) or path.is_relative_to(
        ROOT / "deploy/k8s"
    )


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_the_manifests_choose_images_that_are_built(path: Path) -> None:
    chosen = yaml.safe_load(path.read_text())
    for entry in chosen.get("images", ()):
        assert f"{entry['name']}:{entry['newTag']}" in NAMES


def test_a_file_is_copied_into_a_pod_by_the_tar_of_the_base_image() -> None:
    """`kubectl cp` runs tar in the pod. Debian has it in every system, small images too."""
    assert re.fullmatch(r"python:[\d.]+-slim-bookworm", arguments()["BASE"])
    if shutil.which("dpkg-query") is None:
        pytest.skip("this machine is no Debian")
    query = ["dpkg-query", "--show", "--showformat", "${Essential}", "tar"]
    assert subprocess.run(query, capture_output=True, text=True, check=True).stdout == "yes"
