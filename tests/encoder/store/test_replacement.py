"""Damage after opening: the store continues empty, and a killed process does not repeat."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import lmdb
import pytest
from structlog.testing import capture_logs

from encoder_svc.store import record_store
from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.datafile import LengthCheck
from encoder_svc.store.directory import StoreDirectory
from encoder_svc.store.inspection import Inspection
from encoder_svc.store.maintenance import Maintenance, Upkeep
from encoder_svc.store.store import LmdbStore
from fovea.contract.cache import Erasure
from fovea.contract.errors import StoreFailed
from fovea.logs import Repeats
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, FIELDS, KIB, pixels, row_key, row_keys, rows, same

LIMITS = StoreLimits(4 * MIB, MIB)


def damage_uses(store: LmdbStore, value: bytes) -> None:
    """Give every record an impossible use, like a page damaged after its check."""
    with store._env.write() as txn:
        uses = store._env.partitions["rows"].tables.uses
        for key in row_keys(store, ALICE):
            txn.put(key.raw, value, db=uses)


@pytest.mark.parametrize("value", [b"short", b"\xff" * 20, bytes(20)])
def test_a_put_on_a_damaged_store_sets_it_aside(open_store: Opener, data_file: Path, value: bytes) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    damage_uses(store, value)
    store.put(row_key(1), FIELDS, rows(1))
    assert store.stats().quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored
    assert same(store.get(row_key(1), FIELDS), rows(1))
    assert (data_file.parent.parent / "env.set-aside" / "data.mdb").exists()
    store.close()
    assert not open_store(LIMITS).stats().quarantined


def test_an_order_of_missing_records_does_not_keep_an_eviction_going(open_store: Opener) -> None:
    store = open_store(LIMITS)
    for n in range(20):
        store.put(row_key(n), FIELDS, rows(n))
    with store._env.write() as txn:
        order = store._env.partitions["rows"].tables.order
        for counter in range(20):
            txn.put(counter.to_bytes(8, "big"), b"nobody", db=order)
    for n in range(100, 160):
        store.put(row_key(n), FIELDS, rows(n))
    assert store.stats().quarantined
    assert same(store.get(row_key(159), FIELDS), rows(159))


def test_damage_seen_by_many_threads_is_set_aside_once(open_store: Opener, tmp_path: Path) -> None:
    store = open_store(LIMITS)
    for n in range(8):
        store.put(row_key(n), FIELDS, rows(n))
    damage_uses(store, b"short")
    together = threading.Barrier(8)

    def put(n: int) -> None:
        together.wait()
        store.put(row_key(n), FIELDS, rows(n))

    threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.put(row_key(n), FIELDS, rows(n)).stored for n in range(8))
    # A second quarantine would have deleted the damaged environment.
    damage = Inspection().find_damage(tmp_path / "store" / "env.set-aside" / "data.mdb")
    assert damage == "the data file is damaged: a use of another length"
    with lmdb.open(str(tmp_path / "store" / "env.set-aside"), max_dbs=16) as env, env.begin() as txn:
        uses = env.open_db(b"rows.uses", txn=txn, create=False)
        assert txn.stat(uses)["entries"] == 8


def test_a_report_after_the_replacement_leaves_the_new_store_alone(open_store: Opener) -> None:
    """A late report must not discard the records of the new environment."""
    store = open_store(LIMITS)
    with pytest.raises(lmdb.CorruptedError), store._env.read():
        raise lmdb.CorruptedError("as LMDB says it")
    store._env.report(lmdb.CorruptedError("first"), "test")
    store.put(row_key(1), FIELDS, rows(1))
    store._env.report(lmdb.CorruptedError("late"), "test")
    assert same(store.get(row_key(1), FIELDS), rows(1))


CRASH_INSIDE = """
import os, resource, sys
from pathlib import Path
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.samples import FIELDS, row_key, rows
from tests.encoder.store.test_replacement import LIMITS
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
store = LmdbStore(Path(sys.argv[1]), LIMITS)
store.put(row_key(1), FIELDS, rows(1))
store.record_crash()
# Pages that the disk cannot give back end the process; so do those lost in the middle of a transaction.
with store._env.read() as txn:
    os.truncate(Path(sys.argv[1]) / "env" / "data.mdb", 8192)
    store._env.partitions["rows"].head(txn, row_key(1).raw)
"""
CRASH_ELSEWHERE = """
import ctypes, resource, sys
from pathlib import Path
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.test_replacement import LIMITS
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
LmdbStore(Path(sys.argv[1]), LIMITS).record_crash()
ctypes.string_at(0)
"""


def filled(open_store: Opener, data_file: Path) -> bytes:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    store.close()
    return data_file.read_bytes()


def crash(code: str, folder: Path) -> int:
    return subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True).returncode


def test_a_process_that_exited_inside_the_store_gets_it_set_aside(
    open_store: Opener, data_file: Path, tmp_path: Path
) -> None:
    healthy = filled(open_store, data_file)
    assert crash(CRASH_INSIDE, tmp_path / "store") in (-signal.SIGBUS, -signal.SIGSEGV)
    data_file.write_bytes(healthy)
    store = open_store(LIMITS)
    assert store.stats().quarantined
    store.close()
    assert not open_store(LIMITS).stats().quarantined


def test_a_process_that_exited_outside_of_the_store_loses_no_record(
    open_store: Opener, data_file: Path, tmp_path: Path
) -> None:
    filled(open_store, data_file)
    assert crash(CRASH_ELSEWHERE, tmp_path / "store") == -signal.SIGSEGV
    assert same(open_store(LIMITS).get(row_key(1), FIELDS), rows(1))


@pytest.mark.parametrize("odd", ["env is a file", "data.mdb is a folder", "lock.mdb is a folder"])
def test_foreign_files_at_the_store_path_are_set_aside(open_store: Opener, data_file: Path, odd: str) -> None:
    env = data_file.parent
    env.parent.mkdir(mode=0o700)
    if odd == "env is a file":
        env.write_text("not a folder")
    else:
        (env / odd.split()[0]).mkdir(parents=True)
    store = open_store()
    assert store.stats().quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored
    store.close()
    assert not open_store().stats().quarantined


def test_a_corrupt_lock_file_is_harmless(open_store: Opener, data_file: Path) -> None:
    filled(open_store, data_file)
    (data_file.parent / "lock.mdb").write_bytes(b"\xff" * 8192)
    assert same(open_store(LIMITS).get(row_key(1), FIELDS), rows(1))


def test_an_empty_data_file_is_a_new_store(open_store: Opener, data_file: Path) -> None:
    filled(open_store, data_file)
    data_file.write_bytes(b"")
    store = open_store(LIMITS)
    assert not store.stats().quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored


def test_a_file_that_is_cut_while_it_is_open_is_replaced(
    open_store: Opener, data_file: Path, tmp_path: Path
) -> None:
    """Without the check of the length the next call would end this process by SIGBUS."""
    store = open_store(LIMITS)
    for n in range(8):
        store.put(row_key(n), FIELDS, rows(n))
    os.truncate(data_file, 8192)
    assert store.get(row_key(1), FIELDS) is None
    assert store.stats().quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored
    assert same(store.get(row_key(1), FIELDS), rows(1))
    data_file.unlink()
    assert store.get(row_key(1), FIELDS) is None
    assert store.put(row_key(2), FIELDS, rows(2)).stored
    store.close()
    assert same(open_store(LIMITS).get(row_key(2), FIELDS), rows(2))


@pytest.mark.parametrize(
    "error", [lmdb.MapResizedError, lmdb.BadTxnError, lmdb.InvalidError, lmdb.ProblemError]
)
def test_an_error_that_no_sound_file_gives_replaces_the_store(
    open_store: Opener, error: type[lmdb.Error]
) -> None:
    """Each of these failed every put until a restart."""
    store = open_store(LIMITS)
    with pytest.raises(error), store._env.write():
        raise error("as LMDB says it")
    store._env.report(error("again"), "test")
    assert store.stats().quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored


@pytest.mark.parametrize(
    "error", [lmdb.MapFullError, lmdb.DiskError, lmdb.ReadersFullError, lmdb.TxnFullError]
)
def test_a_lack_of_room_replaces_nothing(open_store: Opener, error: type[lmdb.Error]) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    with pytest.raises(error), store._env.write():
        raise error("as LMDB says it")
    store._env.report(error("again"), "test")
    assert not store.stats().quarantined
    assert same(store.get(row_key(1), FIELDS), rows(1))


def test_a_deletion_that_meets_damage_is_done(open_store: Opener, data_file: Path) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    damage_uses(store, b"short")
    assert store.delete_tenant(ALICE) == Amount()
    assert store.erase() is Erasure.ERASED
    assert not (data_file.parent.parent / "env.set-aside").exists()


def damage_branches(data_file: Path) -> None:
    raw = data_file.read_bytes()
    branches = [at for at in range(8192, len(raw), 4096) if raw[at + 10] == 1 and raw[at + 11] == 0]
    assert branches
    with data_file.open("r+b") as file:
        for at in branches:
            file.seek(at + 16)
            file.write(b"\xff\xff")


def test_the_check_of_the_running_file_replaces_a_damaged_one(open_store: Opener, data_file: Path) -> None:
    """Nobody has touched the damaged pages yet."""
    store = open_store(LIMITS)
    for n in range(20):
        store.put(row_key(n), FIELDS, rows(n))
    store._env.check_pages()
    assert not store.stats().quarantined
    damage_branches(data_file)
    store._env.check_pages()
    assert store.stats().quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def upkeep_of(store: LmdbStore, check_s: float, clock: Clock) -> Maintenance:
    return Maintenance(store._env, store.flush, Upkeep(check_s), threading.Event(), clock)


def test_the_running_file_is_checked_when_its_time_has_come(open_store: Opener, data_file: Path) -> None:
    store, clock = open_store(LIMITS), Clock()
    for n in range(20):
        store.put(row_key(n), FIELDS, rows(n))
    upkeep, never = upkeep_of(store, 600, clock), upkeep_of(store, 0, clock)
    damage_branches(data_file)
    clock.now = 599
    upkeep.tick()
    assert not store._env.quarantined
    clock.now = 600
    never.tick()
    assert not store._env.quarantined
    upkeep.tick()
    assert store._env.quarantined
    assert store.put(row_key(1), FIELDS, rows(1)).stored


def test_a_store_that_the_disk_refused_after_damage_is_opened_again(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    real, tried = lmdb.open, list[str]()

    def refuse(path: str, **options: object) -> lmdb.Environment:
        tried.append(path)
        raise lmdb.DiskError("no space left")

    monkeypatch.setattr(lmdb, "open", refuse)
    damage_uses(store, b"short")
    assert not store.put(row_key(1), FIELDS, rows(1)).stored
    assert tried
    assert store.get(row_key(1), FIELDS) is None
    assert store.put(row_key(1), FIELDS, rows(1)).skipped == "write_failed"
    with pytest.raises(StoreFailed):
        store.stats()
    upkeep = upkeep_of(store, 0, Clock())
    with suppress(lmdb.Error):
        upkeep.tick()
    assert not store.put(row_key(1), FIELDS, rows(1)).stored
    monkeypatch.setattr(lmdb, "open", real)
    monkeypatch.setattr(record_store, "_REST_SECONDS", 0.0)
    upkeep.tick()
    assert store.put(row_key(2), FIELDS, rows(2)).stored
    assert same(store.get(row_key(2), FIELDS), rows(2))


def test_a_failure_of_every_call_is_logged_once_a_minute(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = open_store(LIMITS), Clock()
    monkeypatch.setattr(store._env, "_warnings", Repeats(60, clock))
    with capture_logs() as logs:
        for error in (lmdb.DiskError("full"), lmdb.DiskError("full"), lmdb.MapFullError("full")):
            store._env.report(error, "put")
        store._env.report(lmdb.DiskError("full"), "read")
        clock.now = 60
        store._env.report(lmdb.DiskError("full"), "put")
    assert [(log["doing"], log["error"]) for log in logs] == [
        ("put", "DiskError"),
        ("put", "MapFullError"),
        ("read", "DiskError"),
        ("put", "DiskError"),
    ]


def test_a_check_finds_nothing_wrong_while_others_write(open_store: Opener) -> None:
    store, ended = open_store(LIMITS), threading.Event()

    def write() -> None:
        for n in count(3):
            if ended.is_set():
                return
            store.put(row_key(n), FIELDS, rows(n))
            store.delete_rows(ALICE, pixels(n - 3))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            store._env.check_pages()
            assert not store.stats().quarantined
    finally:
        ended.set()
        writer.join()


def test_a_check_that_runs_does_not_delay_the_end(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    started = tmp_path / "started"
    (tmp_path / "endless.py").write_text(
        f"open({str(started)!r}, 'w').close()\nimport signal\nsignal.pause()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("encoder_svc.store.inspection._MODULE", "endless")
    check = threading.Thread(target=store._env.check_pages)
    check.start()
    while not started.exists():
        time.sleep(0.01)
    assert same(store.get(row_key(1), FIELDS), rows(1))
    store.close()
    check.join(10)
    assert not check.is_alive()


FULL_DISK = """
import resource, sys
from pathlib import Path
from encoder_svc.store.store import LmdbStore
from fovea.contract.cache import Erasure
from fovea.contract.errors import StoreFailed
from fovea.logs import Repeats
from tests.encoder.store.test_replacement import LIMITS
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    LmdbStore(Path(sys.argv[1]), LIMITS)
except StoreFailed as error:
    print(error.reason)
"""


def test_a_disk_that_is_full_at_the_start_is_a_typed_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "STORE_FAILED"


def test_the_set_aside_store_is_deleted_if_the_disk_has_no_room(
    open_store: Opener, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(open_store, data_file)
    data_file.write_bytes(b"noise" * KIB)
    real, set_aside = lmdb.open, data_file.parent.parent / "env.set-aside"

    def open_where_there_is_room(path: str, **options: object) -> lmdb.Environment:
        if set_aside.exists():
            raise lmdb.DiskError("no space left")
        return real(path, **options)

    monkeypatch.setattr(lmdb, "open", open_where_there_is_room)
    assert open_store(LIMITS).stats().quarantined


CHECK = """
import json, sys, time
from pathlib import Path
from encoder_svc.store import check
from fovea.nursery import limits

def loop(*_, **__):
    while True:
        pass

def hang(*_, **__):
    limits.signal.pause()

def fail(*_, **__):
    raise MemoryError

def crash(*_, **__):
    limits.signal.raise_signal(limits.signal.SIGSEGV)

check.verify = {what}
limits._PATIENCE_S, limits._PATIENCE = {patience}, 0
check.main(Path(sys.argv[1]), limits.ChildLimits(0.2, 2**30), 0)
"""


@pytest.mark.parametrize(
    ("what", "patience", "damage", "while_serving"),
    [
        ("loop", 600, "more than 5 s of CPU", True),
        ("hang", 0.2, "longer than 80 s", False),
        ("fail", 600, "MemoryError while it was read", True),
        ("crash", 600, "ended by SIGSEGV", True),
    ],
)
def test_a_check_that_does_not_end_counts_as_damage(
    open_store: Opener,
    data_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
    patience: float,
    damage: str,
    while_serving: bool,
) -> None:
    """A check that only waits says nothing of a file that is in use: the machine may be busy."""
    filled(open_store, data_file)
    (tmp_path / "faulty_check.py").write_text(CHECK.format(what=what, patience=patience))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("encoder_svc.store.inspection._MODULE", "faulty_check")
    assert damage in (Inspection().find_damage(data_file) or "")
    assert (Inspection().find_damage(data_file, serving=True) is not None) == while_serving


@pytest.mark.parametrize(
    ("check", "status", "detail"),
    [
        ("import no_such_module", 1, "No module named 'no_such_module'"),
        (CHECK.format(what="undefined", patience=600), 1, "name 'undefined' is not defined"),
        (CHECK.format(what="lambda *_, **__: None.items", patience=600), 1, "no attribute 'items'"),
        ("import signal\nsignal.raise_signal(signal.SIGKILL)", -9, ""),
    ],
)
def test_a_check_that_fails_by_itself_costs_no_sound_store(
    open_store: Opener,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    check: str,
    status: int,
    detail: str,
) -> None:
    """Such as a package that is replaced during an upgrade, or a kernel that is out of memory."""
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1))
    store.close()
    (tmp_path / "defective_check.py").write_text(check)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("encoder_svc.store.inspection._MODULE", "defective_check")
    with capture_logs() as lines:
        store = open_store(LIMITS)
    assert not store.stats().quarantined
    assert same(store.get(row_key(1), FIELDS), rows(1))
    (line,) = [line for line in lines if line["event"] == "store_check_failed"]
    assert line["log_level"] == "error"
    assert line["status"] == status
    assert detail in line["detail"]


def test_a_closed_inspection_starts_no_check(open_store: Opener, data_file: Path) -> None:
    """A check that began while the store closes would hold up its end."""
    filled(open_store, data_file)
    data_file.write_bytes(b"noise" * KIB)
    inspection = Inspection()
    assert inspection.find_damage(data_file) is not None
    inspection.close()
    assert inspection.find_damage(data_file) is None


def test_a_folder_that_nothing_can_be_written_to_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "store" / "lock").mkdir(parents=True)
    with pytest.raises(StoreFailed, match=r"disk refuses the store at .*lock: Is a directory"):
        LmdbStore(tmp_path / "store", LIMITS)
    shutil.rmtree(tmp_path / "store")
    StoreDirectory(tmp_path / "store").release()


def test_a_file_that_grows_while_two_threads_check_it_has_lost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread notes the longer file after this thread has read the length and before it compares."""
    file = tmp_path / "data.mdb"
    file.write_bytes(bytes(4096))
    length = LengthCheck(file)
    length.check()
    stat = Path.stat

    def stat_before_another_thread(path: Path) -> os.stat_result:
        earlier = stat(path)
        monkeypatch.undo()
        file.write_bytes(bytes(8192))
        length.check()
        return earlier

    monkeypatch.setattr(Path, "stat", stat_before_another_thread)
    length.check()
    length.check()
    assert file.stat().st_size == 8192
