"""A full map or a full disk costs only what could not be stored."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_svc.store import record_store
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import FIELDS, KIB, row_key, rows, same


class TightLimits(StoreLimits):
    """A map far too small for its capacity, so that LMDB is full before the bound is reached."""

    @property
    def map_bytes(self) -> int:
        return 4 * MIB


LIMITS = TightLimits(64 * MIB, MIB)
SIZE = 500 * KIB


def stored_and_right(store: LmdbStore, numbers: range) -> list[int]:
    """Those of `numbers` that are stored; every stored record must be right."""
    stored = {n: store.get(row_key(n), FIELDS) for n in numbers}
    kept = [n for n, record in stored.items() if record is not None]
    assert all(same(stored[n], rows(n, SIZE)) for n in kept)
    return kept


def test_a_full_map_makes_room_and_takes_the_next_record(open_store: Opener) -> None:
    store = open_store(LIMITS)
    for n in range(40):
        assert store.put(row_key(n), FIELDS, rows(n, SIZE)).stored
    kept = stored_and_right(store, range(40))
    assert kept[-1] == 39
    stats = store.stats().total.rows
    assert stats.errors > 0
    assert stats.skipped_puts == 0
    assert stats.evictions == 40 - stats.records


def test_a_reader_that_pins_every_page_blocks_only_puts(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_store, "_REST_SECONDS", 0.0)
    store = open_store(LIMITS)
    for n in range(6):
        store.put(row_key(n), FIELDS, rows(n, SIZE))
    with store._env.lmdb.begin():
        puts = [store.put(row_key(n), FIELDS, rows(n, SIZE)) for n in range(6, 30)]
        assert any(put.skipped == "write_failed" for put in puts)
        stored_and_right(store, range(30))
    puts = [store.put(row_key(n), FIELDS, rows(n, SIZE)) for n in range(30, 36)]
    assert puts[-1].stored
    assert same(store.get(row_key(35), FIELDS), rows(35, SIZE))


def test_a_disk_that_stays_full_does_not_empty_the_store(open_store: Opener) -> None:
    store = open_store(LIMITS)
    for n in range(6):
        store.put(row_key(n), FIELDS, rows(n, SIZE))
    before = store.stats().total.rows.evictions
    with store._env.lmdb.begin():
        for n in range(6, 60):
            store.put(row_key(n), FIELDS, rows(n, SIZE))
    assert store.stats().total.rows.evictions - before <= 6
    assert store.stats().total.rows.skipped_puts >= 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


OPEN_ON_A_FULL_DISK = """
import sys
from pathlib import Path
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore
from fovea.contract.errors import StoreFailed
from tests.encoder.store.conftest import MIB
from tests.encoder.store.samples import FIELDS, KIB, row_key, rows, same
try:
    store = LmdbStore(Path(sys.argv[1]), StoreLimits(64 * MIB, MIB))
except StoreFailed as error:
    print(error.reason)
else:
    print(same(store.get(row_key(1), FIELDS), rows(1)), store.put(row_key(2), FIELDS, rows(2, 500 * KIB)).skipped)
"""


@pytest.mark.long
@pytest.mark.parametrize("free_pages", range(7))
@pytest.mark.parametrize("kept", ["nothing", "data.mdb", "both"])
def test_a_start_on_a_full_disk_serves_or_ends_with_a_typed_error(
    small_disk: Path, kept: str, free_pages: int
) -> None:
    """LMDB maps its lock file; a page without a block would end the process by SIGBUS."""
    folder = small_disk / "store"
    with LmdbStore(folder, StoreLimits(64 * MIB, MIB)) as store:
        store.put(row_key(1), FIELDS, rows(1))
    for name in {"nothing": ("data.mdb", "lock.mdb"), "data.mdb": ("lock.mdb",), "both": ()}[kept]:
        (folder / "env" / name).unlink()
    disk = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes((disk.f_bavail - free_pages) * disk.f_frsize))
    command = [sys.executable, "-c", OPEN_ON_A_FULL_DISK, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    outcome = done.stdout.splitlines()[-1]
    assert outcome in {"STORE_FAILED", "True write_failed", "False write_failed"}
    if kept == "both":
        assert outcome == "True write_failed"


def test_a_full_disk_costs_only_what_does_not_fit(small_disk: Path) -> None:
    with LmdbStore(small_disk / "store", StoreLimits(64 * MIB, MIB)) as store:
        (small_disk / "ballast").write_bytes(bytes(4 * MIB))
        puts = [store.put(row_key(n), FIELDS, rows(n, SIZE)) for n in range(60)]
        assert store.stats().total.rows.errors > 0
        kept = stored_and_right(store, range(60))
        assert kept
        assert sum(put.stored for put in puts) >= len(kept)
        (small_disk / "ballast").unlink()
    with LmdbStore(small_disk / "store", StoreLimits(64 * MIB, MIB)) as store:
        assert not store.stats().quarantined
        assert stored_and_right(store, range(60)) == kept
        assert store.put(row_key(99), FIELDS, rows(99, SIZE)).stored


def test_deletes_work_on_a_full_disk(small_disk: Path) -> None:
    with LmdbStore(small_disk / "store", StoreLimits(64 * MIB, MIB)) as store:
        for n in range(40):
            store.put(row_key(n), FIELDS, rows(n, SIZE))
        kept = stored_and_right(store, range(40))
        for n in kept:
            assert store.delete_rows(row_key(n).tenant, row_key(n).pixels).records == 1
        assert stored_and_right(store, range(40)) == []
