"""The check of a data file, in a process of its own: see `inspection`.

`python -m encoder_svc.store.check FILE LIMITS NICENESS` prints nothing for a sound file and a line for a
damaged file. It exits with 1 if the check itself is defective, which says nothing of the file. First
py-lmdb's verifier walks the tree and free-list pages and the header of each overflow extent, not the values,
and never passes the file to LMDB. Only a file that is sound so far is opened and audited. The process sets
its own limits, so that nothing outlives a killed parent for long.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path

import lmdb
from lmdb.verify import VerifyError, verify

from encoder_svc.store.amounts import Bounds
from encoder_svc.store.audit import audit
from encoder_svc.store.opening import has_our_schema
from encoder_svc.store.partition import Partition
from fovea.nursery.limits import ChildLimits, limit_memory

PARTITIONS = ("rows", "uploads")
_RAISED_BY_CONTENT = (
    MemoryError,
    RecursionError,
    ArithmeticError,
    LookupError,
    ValueError,
    struct.error,
    OSError,
)


def main(file: Path, limits: ChildLimits, niceness: int) -> None:
    os.nice(niceness)
    signal.setitimer(signal.ITIMER_REAL, limits.patience_s)
    limits.impose()
    print(_damage(file), end="")


def _damage(file: Path) -> str:
    """Raises what no content of a file explains, such as an ImportError: a defect of the check."""
    try:
        return _structure(file) or _audit(file)
    except _RAISED_BY_CONTENT as error:
        return f"{type(error).__name__} while it was read"


def _structure(file: Path) -> str:
    try:
        problems = verify(str(file), subdir=False)
    except (VerifyError, OSError) as error:
        return str(error)
    return f"{problems[0]}; {len(problems)} in all" if problems else ""


def _audit(file: Path) -> str:
    size = file.stat().st_size
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    if memory != resource.RLIM_INFINITY:
        limit_memory(memory + size)  # LMDB maps the file
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
    main(Path(sys.argv[1]), ChildLimits(**json.loads(sys.argv[2])), int(sys.argv[3]))
