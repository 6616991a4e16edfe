"""A directory belongs to a single process: a second store, process and a forked child are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore
from fovea.contract.errors import StoreFailed, StoreForked, StoreInUse
from tests.encoder.store.conftest import Opener
from tests.encoder.store.samples import FIELDS, row_key, rows, same

OPEN_AND_SAY = """
import sys
from pathlib import Path
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore
from fovea.contract.errors import StoreInUse
try:
    LmdbStore(Path(sys.argv[1]), StoreLimits(2**20, 2**20)).close()
    print("opened")
except StoreInUse as error:
    print(error.reason)
"""


def open_elsewhere(folder: Path) -> str:
    command = [sys.executable, "-c", OPEN_AND_SAY, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_second_process_is_refused(store: LmdbStore, tmp_path: Path) -> None:
    assert open_elsewhere(tmp_path / "store") == "STORE_IN_USE"


def test_closing_releases_the_directory(open_store: Opener) -> None:
    open_store().close()
    open_store()


def test_a_second_store_in_this_process_is_refused_and_the_first_goes_on(open_store: Opener) -> None:
    store = open_store()
    store.put(row_key(1), FIELDS, rows(1))
    with pytest.raises(StoreInUse):
        open_store()
    assert same(store.get(row_key(1), FIELDS), rows(1))


def outcome_in_child(store: LmdbStore) -> int:
    """Fork, call the store there, and give back how many of the calls were refused as forked."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    refused = 0
    calls = (
        lambda: store.get(row_key(1), FIELDS),
        lambda: store.put(row_key(2), FIELDS, rows(2)),
        store.stats,
        store.close,
    )
    for call in calls:
        try:
            call()
        except StoreForked:
            refused += 1
    os._exit(refused)


def test_a_forked_child_is_refused_and_does_no_harm(store: LmdbStore) -> None:
    store.put(row_key(1), FIELDS, rows(1))
    assert outcome_in_child(store) == 4
    assert same(store.get(row_key(1), FIELDS), rows(1))
    assert store.put(row_key(2), FIELDS, rows(2)).stored


def test_a_directory_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="disk refuses"):
        LmdbStore(tmp_path / "file" / "store", StoreLimits(2**20, 2**20))


def test_a_failed_open_releases_the_directory(open_store: Opener, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot open"):
        open_store(StoreLimits(2**60, 2**20))
    open_store()
