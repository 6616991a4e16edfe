"""A tiny checkpoint for all prompt tests, with several chat templates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import standin
from decoder_svc.prompt import PromptBuilder
from tests import tiny
from tests.decoder.prompt.reference import Reference

HERE = Path(__file__).parent
TEMPLATES = {
    "instruct": Path(standin.__file__).parent / "chat_template.jinja",
    "thinking": HERE / "thinking_template.jinja",
    "hybrid": HERE / "hybrid_template.jinja",
}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("tiny"), text_layers=1, vision_depth=3)


@pytest.fixture(scope="session")
def folders(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny checkpoint, with its own template and with templates that have the branches of published ones."""
    result = {"tiny": tiny_folder}
    for name, template in TEMPLATES.items():
        result[name] = tmp_path_factory.mktemp(name) / "checkpoint"
        shutil.copytree(tiny_folder, result[name], ignore=shutil.ignore_patterns("*.safetensors"))
        shutil.copy(template, result[name] / "chat_template.jinja")
    return result


@pytest.fixture(scope="session", params=["tiny", "instruct", "thinking"])
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture(scope="session")
def builder(folder: Path) -> PromptBuilder:
    return PromptBuilder(folder)


@pytest.fixture(scope="session")
def reference(folder: Path) -> Reference:
    return Reference(folder)


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint folder that tests may damage."""
    target = tmp_path / "checkpoint"
    shutil.copytree(tiny_folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    return target
