"""Shared by the tests of the pages: fresh services for each module, and the tools built by Go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.shell import TOOLS, Addresses, services


@pytest.fixture(scope="module")
def tool() -> Callable[[str], Path]:
    """A built tool by name. If it is missing, the test is skipped, or fails if nothing may be skipped."""

    def find(name: str) -> Path:
        if not (TOOLS / name).exists():
            reason = f"{name} is not built; `make test-clients` builds it where Go is there"
            (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(reason)
        return TOOLS / name

    return find


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    with services(tmp_path_factory.mktemp("store")) as at:
        yield at
