"""Checkpoints and references, created once; an engine for each test that uses the fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from decoder_svc.native_engine.engine import NativeEngine
from tests import tiny
from tests.decoder.native_engine.harness import Question, Reference, settings

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("engine")
    return {
        "moe": tiny.checkpoint(root / "moe", "moe", shards=3),
        "dense": tiny.checkpoint(root / "dense", "dense"),
    }


@pytest.fixture(scope="session")
def references(checkpoints: dict[str, Path]) -> dict[str, Reference]:
    return {kind: Reference(folder, kind) for kind, folder in checkpoints.items()}


@pytest.fixture(scope="session")
def questions(references: dict[str, Reference]) -> dict[str, list[Question]]:
    """For each kind 0, 1, 2 and 5 images, twice with different texts and sizes."""
    return {
        kind: [reference.ask(images, seed) for seed in (1, 2) for images in (0, 1, 2, 5)]
        for kind, reference in references.items()
    }


@pytest.fixture
async def engine(checkpoints: dict[str, Path]) -> AsyncIterator[NativeEngine]:
    running = NativeEngine(settings(checkpoints["moe"]))
    await running.start()
    yield running
    await running.close()
