"""The page of the manifests: its commands make what pods need, and name what there is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.deploy.kubernetes.manifests import FOLDER, ROOT, Overlay, Secrets, render
from tests.deploy.kubernetes.readme import TEXT, make_secrets
from tests.deploy.kubernetes.settings import chosen
from tests.deploy.test_compose import SETTINGS, VARIABLES

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """The Secrets of the page."""
    return make_secrets(tmp_path_factory.mktemp("secrets"))


def test_the_commands_make_the_files_that_the_settings_name(
    overlay: Overlay, made: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overlays without access control have neither."""
    for workload in overlay.workloads.values():
        settings, fields = chosen(workload, monkeypatch), SETTINGS[workload.package].model_fields
        files = {str(value) for name in fields if str(value := getattr(settings, name)).startswith("/etc/")}
        folders = {
            folder: one["secret"]["secretName"] for folder, one in workload.mounts.items() if "secret" in one
        }
        assert {file.rpartition("/")[0] for file in files} == set(folders)
        assert bool(files) is not settings.insecure
        for file in files:
            folder, _, key = file.rpartition("/")
            assert key in made[folders[folder]]


def test_the_page_names_files_and_settings_that_there_are() -> None:
    for path in re.findall(r"(?:deploy|standin)/[\w./-]+\w", TEXT):
        assert (ROOT / path).exists(), path
    for variable in set(re.findall(r"FOVEA_[A-Z_]+", TEXT)):
        assert variable in VARIABLES, variable


def test_the_commands_name_objects_that_there_are(built: Callable[[str], Overlay]) -> None:
    documents = [*built("many").documents, *render(FOLDER / "models")]
    there = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in documents}
    named = set(re.findall(r"\b(?:pod|service|deployment|statefulset)/fovea[\w-]*", TEXT))
    assert len(named) > 4
    assert named <= there


def test_the_commands_apply_kustomizations_that_there_are() -> None:
    applied = re.findall(r"apply -k (\S+)", TEXT)
    assert applied
    assert all((ROOT / folder / "kustomization.yaml").is_file() for folder in applied)
