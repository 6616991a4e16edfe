"""The check of a data file, in a process of its own: see `inspection`.

`python -m encoder_svc.store.check FILE MEMORY_BYTES SECONDS NICENESS` prints nothing for a sound file and a
line for a damaged file. First py-lmdb's verifier walks the tree and free-list pages and the header of each
overflow extent, not the values, and never passes the file to LMDB. Only a file that is sound so far is opened
and audited. The process sets its own limits, so that nothing outlives a killed parent for long.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import lmdb
from lmdb.verify import VerifyError, verify

from encoder_svc.store.amounts import Bounds
from encoder_svc.store.audit import audit
from encoder_svc.store.opening import has_our_schema
from encoder_svc.store.partition import Partition

PARTITIONS = ("rows", "uploads")


def main(file: Path, memory_bytes: int, seconds: int, niceness: int) -> None:
    os.nice(niceness)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(seconds)
    # LMDB maps the file, which counts as memory here.
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes + file.stat().st_size))
    print(_structure(file) or _audit(file, memory_bytes), end="")


def _structure(file: Path) -> str:
    try:
        problems = verify(str(file), subdir=False)
    except (VerifyError, OSError) as error:
        return str(error)
    return f"{problems[0]}; {len(problems)} in all" if problems else ""


def _audit(file: Path, memory_bytes: int) -> str:
    size = file.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes + size, memory_bytes + size))
    try:
        with (
            lmdb.open(str(file), subdir=False, map_size=size, readonly=True, lock=False, max_dbs=16) as env,
            env.begin(buffers=True) as txn,
        ):
            if has_our_schema(txn):
                for name in PARTITIONS:
                    audit(Partition(env, txn, name, Bounds(0, 0), create=False), txn)
    except lmdb.Error as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
