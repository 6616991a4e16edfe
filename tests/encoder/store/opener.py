"""Opens the store in each directory on stdin and uses all of it, in a process of its own with limits.

Reports "sound" or "set aside" if every record was right or a miss and every new record was stored, else the
exit status. Processes are forked, because starting an interpreter for each would take most of the time.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.keys import UploadKey
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.samples import ALICE, FIELDS, KIB, pixels, row_key, rows, same

MIB = 1024 * KIB
LIMITS = StoreLimits(5 * MIB, MIB)
RECORDS = range(60)
LATER = range(200, 214)
MEMORY_BYTES = 4096 * MIB
SECONDS = 60
SOUND, SET_ASIDE, WRONG_ROW, NOT_KEPT = 10, 11, 12, 13


def size_of(n: int) -> int:
    """From a few rows, which lie inside a leaf page, to two pieces."""
    return KIB if n % 3 == 0 else (1 + n * 7919 % 300) * KIB


def upload_key(n: int) -> UploadKey:
    return UploadKey(ALICE, n.to_bytes(32, "big"))


def put(store: LmdbStore, n: int) -> bool:
    return (
        store.put(row_key(n), FIELDS, rows(n, size_of(n))).stored
        and store.put_sidecar(row_key(n), "order", FIELDS, bytes(n)).stored
        and store.put_upload(upload_key(n), bytes(20 * n + 1), {"format": "PNG"}).stored
    )


def fill(folder: Path) -> None:
    with LmdbStore(folder, LIMITS) as store:
        assert all(put(store, n) for n in RECORDS)


def use(store: LmdbStore) -> int:
    """Read, write, evict and delete, so that LMDB walks its trees and its free list in every way it can."""
    for n in RECORDS:
        stored = store.get(row_key(n), FIELDS)
        if stored is not None and not same(stored, rows(n, size_of(n))):
            return WRONG_ROW
    if not all(put(store, n) for n in LATER):
        return NOT_KEPT
    for n in RECORDS[30:50]:
        store.delete_rows(ALICE, pixels(n))
    if not all(put(store, n) for n in LATER):
        return NOT_KEPT
    store.delete_tenant(ALICE)
    return SET_ASIDE if store.stats().quarantined else SOUND


def open_and_use(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    with LmdbStore(folder, LIMITS) as store:
        os._exit(use(store))


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.stdout = sys.stderr
            open_and_use(Path(line.strip()))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print({SOUND: "sound", SET_ASIDE: "set aside"}.get(status, status), flush=True)


if __name__ == "__main__":
    main()
