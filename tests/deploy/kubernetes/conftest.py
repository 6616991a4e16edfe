"""Overlays that kustomize has built. Go builds kustomize; `make test-clients` runs these tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import pytest

from tests.deploy.kubernetes.manifests import KUSTOMIZE, OVERLAYS, Overlay


@pytest.fixture(scope="session")
def built() -> Callable[[str], Overlay]:
    """An overlay by name. Without kustomize its test is skipped, or fails if nothing may be skipped."""

    @cache
    def find(name: str) -> Overlay:
        if not KUSTOMIZE.exists():
            missing = "kustomize is not built; `make test-clients` builds it where Go is there"
            (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(missing)
        return Overlay.build(name)

    return find


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, built: Callable[[str], Overlay]) -> Overlay:
    """Each overlay."""
    return built(request.param)
