"""What tests of the deployment need from the machine: a way to build images, and Prometheus."""

from __future__ import annotations

import os

import pytest

from tests.deploy import prometheus
from tests.deploy.engine import Engine, unavailable


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Images are built once for all tests."""
    if missing := unavailable():
        _missing(missing)
    return Engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def installed() -> None:
    """Prometheus and promtool."""
    if not prometheus.is_installed():
        _missing("Prometheus is not installed: apt-get install prometheus")


def _missing(why: str) -> None:
    """Skip the test, or fail it if nothing may be skipped."""
    (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(why)
