"""Opens LMDB's files in a folder, and the partitions in them. Checks belong to `environment`.

Sync mode, measured on a virtual disk (median of a commit, three modes): the default (data and meta page
flushed) takes 8 ms for 256 KiB and 27 to 48 ms for 16 MiB; `metasync=False` 4 ms and 24 ms; `sync=False` 0.05
ms and 7 to 14 ms. We use `metasync=False`. The data of a commit reach the disk before the meta page that
points to them, so a power cut may undo the last commit but never leaves half of it. `sync=False` would let
the disk reorder them and break the tree itself, which no check of ours could catch. A killed process loses
nothing in any mode. Never `writemap`: a full disk would kill the process with SIGBUS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import lmdb

from encoder_svc.store.amounts import Bounds
from encoder_svc.store.partition import Partition
from encoder_svc.store.tables import ReadTxn, WriteTxn

SCHEMA = b"1"
_SCHEMA_KEY = b"schema"
_MAX_DATABASES = 16
# A slot per concurrently reading thread, with spare slots for dead readers.
_MAX_READERS = 256
# Slots of 64 bytes behind two locks of at most that size each, in whole pages.
_LOCK_BYTES = (_MAX_READERS + 64) * 64

Partitions = Mapping[str, Partition]


def open_lmdb(folder: Path, map_bytes: int) -> lmdb.Environment:
    """Raises lmdb.Error, and OSError if the disk has no room for the lock file."""
    _allocate(folder / "lock.mdb", _LOCK_BYTES)
    return lmdb.open(
        str(folder),
        map_size=map_bytes,
        mode=0o600,
        metasync=False,
        max_dbs=_MAX_DATABASES,
        max_readers=_MAX_READERS,
    )


def open_partitions(env: lmdb.Environment, bounds: Mapping[str, Bounds]) -> Partitions:
    """The partitions of an environment, created if missing. VersionMismatchError for another schema."""
    with env.begin(write=True) as txn:
        if not txn.stat()["entries"]:
            txn.put(_SCHEMA_KEY, SCHEMA)
        elif not has_our_schema(txn):
            raise lmdb.VersionMismatchError("another schema of ours")
        return {name: Partition(env, txn, name, bound) for name, bound in bounds.items()}


def has_our_schema(txn: ReadTxn | WriteTxn) -> bool:
    return txn.get(_SCHEMA_KEY) == SCHEMA


def _allocate(file: Path, size: int) -> None:
    """Give a file that LMDB maps its blocks. A page without a block would raise SIGBUS on a full disk."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
