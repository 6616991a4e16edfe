"""A store in a temporary directory, with room for a few records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore

MIB = 1024 * 1024
Opener = Callable[..., LmdbStore]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Opener]:
    """Opens the same directory each time it is called; closes whatever is left open."""
    opened: list[LmdbStore] = []

    def open_again(limits: StoreLimits | None = None) -> LmdbStore:
        opened.append(LmdbStore(tmp_path / "store", limits or StoreLimits(32 * MIB, 8 * MIB)))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Opener) -> LmdbStore:
    return open_store()


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "env" / "data.mdb"
