"""A tiny checkpoint for all prompt tests, with two chat templates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from decoder_svc.prompt import PromptBuilder
from tests import tiny
from tests.decoder.prompt.reference import Reference

TEMPLATE = Path(__file__).parent / "chat_template.jinja"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("tiny"), text_layers=1, vision_depth=3)


@pytest.fixture(scope="session")
def tools_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a template that has the branches of the published template."""
    folder = tmp_path_factory.mktemp("tools") / "checkpoint"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copy(TEMPLATE, folder / "chat_template.jinja")
    return folder


@pytest.fixture(scope="session", params=["tiny", "published branches"])
def folder(request: pytest.FixtureRequest, tiny_folder: Path, tools_folder: Path) -> Path:
    return tiny_folder if request.param == "tiny" else tools_folder


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
