"""Bytes of deleted records leave the files of the store with the next compaction, and the answer says so."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.keys import UploadKey
from encoder_svc.store.store import LmdbStore
from fovea.contract.cache import Erasure
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, BOB, FIELDS, KIB, pixels, row_key, row_keys, rows, same

SMALL, LARGE = b"a small upload of Alice", b"the bytes of a large upload" * 40 * KIB
LIMITS = StoreLimits(32 * MIB, 8 * MIB)


def traces(folder: Path, *samples: bytes) -> list[tuple[str, bytes]]:
    """The files below `folder` that hold a sample."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [(file.name, sample[:20]) for file in files for sample in samples if sample in file.read_bytes()]


def samples_of(n: int) -> list[bytes]:
    """Bytes from the values of record n, and its key."""
    data = bytes(rows(n, 600 * KIB).data)
    return [data[:40], data[-40:], data[300 * KIB : 300 * KIB + 40], pixels(n)]


def fill(store: LmdbStore) -> None:
    for n in range(10):
        store.put(row_key(n), FIELDS, rows(n, 600 * KIB))
        store.put_sidecar(row_key(n), "order", FIELDS, b"sidecar of %d" % n)
    store.put_upload(UploadKey(ALICE, pixels(1)), SMALL, {"note": "facts of Alice"})
    store.put_upload(UploadKey(ALICE, pixels(2)), LARGE, {})
    store.put(row_key(3, BOB), FIELDS, rows(3))


def compact(store: LmdbStore) -> bool:
    return store._env.compact(lambda: False)


def assert_whole(store: LmdbStore, numbers: range) -> None:
    for n in numbers:
        assert same(store.get(row_key(n), FIELDS), rows(n, 600 * KIB))
        assert store.get_sidecar(row_key(n), "order", FIELDS) == b"sidecar of %d" % n
    assert same(store.get(row_key(3, BOB), FIELDS), rows(3))


def test_deleted_bytes_are_gone_after_a_compaction(open_store: Opener, tmp_path: Path) -> None:
    store = open_store(LIMITS)
    fill(store)
    store.delete_rows(ALICE, pixels(1))
    store.delete_upload(UploadKey(ALICE, pixels(1)))
    store.delete_upload(UploadKey(ALICE, pixels(2)))
    gone = [*samples_of(1), SMALL, LARGE[:40], b"facts of Alice", b"sidecar of 1"]
    assert traces(tmp_path, *gone), "nothing to erase: the test would pass without a compaction"
    assert store.erase() is Erasure.AFTER_COMPACTION
    assert store.erasure_due
    before = store.stats().total
    assert compact(store)
    assert traces(tmp_path, *gone) == []
    assert not store.erasure_due
    assert store.erase() is Erasure.ERASED
    assert (before.rows.records, before.rows.bytes) == (
        store.stats().total.rows.records,
        store.stats().total.rows.bytes,
    )
    assert_whole(store, range(2, 10))
    store.close()
    again = open_store(LIMITS)
    assert not again.stats().quarantined
    assert_whole(again, range(2, 10))


def test_a_purge_leaves_the_records_of_others(open_store: Opener, tmp_path: Path) -> None:
    store = open_store(LIMITS)
    fill(store)
    store.delete_tenant(ALICE)
    store.erase()
    assert compact(store)
    assert traces(tmp_path, *samples_of(4), SMALL, ALICE) == []
    assert same(store.get(row_key(3, BOB), FIELDS), rows(3))


def test_an_eviction_counts_as_bytes_to_erase(open_store: Opener) -> None:
    store = open_store(StoreLimits(MIB, MIB))
    for n in range(8):
        store.put(row_key(n), FIELDS, rows(n, 200 * KIB))
    assert store.erase() is Erasure.AFTER_COMPACTION


def test_a_new_store_has_nothing_to_erase(open_store: Opener) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    assert store.erase() is Erasure.ERASED


def test_a_request_survives_a_restart(open_store: Opener, tmp_path: Path) -> None:
    first = open_store(LIMITS)
    fill(first)
    first.delete_rows(ALICE, pixels(4))
    first.erase()
    first.close()
    second = open_store(LIMITS)
    assert second.erasure_due
    second._maintenance.tick()
    assert not second.erasure_due
    assert traces(tmp_path, *samples_of(4)) == []
    second.close()
    assert not open_store(LIMITS).erasure_due


def test_the_order_of_use_survives(open_store: Opener) -> None:
    store = open_store(StoreLimits(MIB, MIB))
    for n in range(4):
        store.put(row_key(n), FIELDS, rows(n, 180 * KIB))
    store.get(row_key(0), FIELDS)
    store.flush()
    compact(store)
    store.put(row_key(4), FIELDS, rows(4, 180 * KIB))
    assert set(row_keys(store, ALICE)) == {row_key(n) for n in (0, 2, 3, 4)}


def test_others_read_write_and_delete_during_a_compaction(open_store: Opener, tmp_path: Path) -> None:
    store = open_store(LIMITS)
    fill(store)
    reads, ended = list[bool](), threading.Event()

    def use() -> None:
        n = 100
        while not ended.is_set():
            reads.append(same(store.get(row_key(5), FIELDS), rows(5, 600 * KIB)))
            store.put(row_key(n), FIELDS, rows(n))
            store.delete_rows(ALICE, pixels(n - 1))
            n += 1

    user = threading.Thread(target=use)
    user.start()
    try:
        assert all(compact(store) for _ in range(3))
    finally:
        ended.set()
        user.join()
    assert reads
    assert all(reads)
    assert_whole(store, range(10))
    # Whatever was deleted while it was copied may still be there, so the store does not claim otherwise.
    store.erase()
    assert compact(store)
    assert store.erase() is Erasure.ERASED
    assert traces(tmp_path, *samples_of(100)) == []
    assert len(row_keys(store, ALICE)) == 11


def test_a_compaction_that_is_stopped_or_fails_changes_nothing(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(LIMITS)
    fill(store)
    store.delete_rows(ALICE, pixels(1))
    store.erase()
    assert not store._env.compact(lambda: True)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((1, 1, 9, 9, 9, 9, 9, 9, 9, 255)))
    assert not compact(store)
    assert store.erasure_due
    assert not (tmp_path / "store" / "env.next").exists()
    assert_whole(store, range(2, 10))


def test_a_reader_of_another_process_does_not_disturb_a_compaction(
    open_store: Opener, data_file: Path
) -> None:
    store = open_store(LIMITS)
    fill(store)
    command = [sys.executable, "-c", PIN, str(data_file.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "pinned\n"
        assert compact(store)
        assert_whole(store, range(10))
        for n in range(20, 24):
            assert store.put(row_key(n), FIELDS, rows(n)).stored
        assert same(store.get(row_key(23), FIELDS), rows(23))
        reader.communicate(timeout=60)
    store.close()
    assert not open_store(LIMITS).stats().quarantined


PIN = """
import lmdb, sys
with lmdb.open(sys.argv[1], readonly=True, max_dbs=16) as env, env.begin():
    print("pinned", flush=True)
    sys.stdin.read()
"""


def test_a_killed_compaction_is_forgotten(open_store: Opener, tmp_path: Path) -> None:
    first = open_store(LIMITS)
    fill(first)
    first.close()
    (tmp_path / "store" / "env.next").mkdir()
    (tmp_path / "store" / "env.next" / "data.mdb").write_bytes(SMALL)
    assert_whole(open_store(LIMITS), range(10))
    assert not (tmp_path / "store" / "env.next").exists()
