"""The settings of the process in a pod."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.kubernetes.manifests import Workload
from tests.deploy.test_compose import SETTINGS


def chosen(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a service makes of its variables."""
    with monkeypatch.context() as patch:
        for name, value in workload.environment(f"{workload.name}-0").items():
            patch.setenv(name, value)
        return SETTINGS[workload.package]()
