"""The store against the machine: get against memcpy, and put against write plus fsync, for records of 16 MiB.

memcpy and get are measured in turns, then write plus fsync and put, so that a busy moment of the machine
affects both alike. All four in turns would favour the step after a disk wait: a process that has just waited
is scheduled first. memcpy copies into memory that is mapped already, the hardest form of the comparison: a
get must find new memory for what it returns. The plain file is a ring of records overwritten in place; a put
replaces an older record and so reuses its pages. Both are filled once before measuring.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.turns import time_in_turns
from encoder_svc.store.core import StoredRows, StoreLimits
from encoder_svc.store.keys import RowKey, tenant_id, variant
from encoder_svc.store.store import LmdbStore
from fovea.contract.rows import RowDtype, RowLayout

RECORD_BYTES = 16 * 1024 * 1024
_KEYS = range(8)
_FIELDS: dict[str, str | int] = {"bench": "store", "revision": 1}
_LAYOUT = RowLayout(width=2048, levels=3, dtype=RowDtype.BF16)

Steps = dict[str, Callable[[int], object]]


def measure(seconds: float = 10.0) -> dict[str, float | int]:
    """Medians in milliseconds, their two ratios, and how often each pair was measured."""
    data = np.random.default_rng(0).integers(0, 256, RECORD_BYTES, dtype=np.uint8)
    # Every key fits, so a put replaces and nothing is evicted.
    limits = StoreLimits(2 * len(_KEYS) * RECORD_BYTES, RECORD_BYTES)
    with (
        tempfile.TemporaryDirectory(prefix="fovea-bench-") as folder,
        LmdbStore(Path(folder) / "store", limits) as store,
        (Path(folder) / "plain").open("wb", buffering=0) as plain,
    ):
        disk, memory = _disk_steps(store, plain.fileno(), data), _memory_steps(store, data)
        time_in_turns(disk, 0.0, 2 * len(_KEYS))
        times = time_in_turns(memory, seconds / 2, len(_KEYS))
        times |= time_in_turns(disk, seconds / 2, len(_KEYS))
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "store_get_vs_memcpy": median["memcpy"] / median["get"],
        "store_put_vs_write_fsync": median["write_fsync"] / median["put"],
        **{f"{name}_ms": 1000 * value for name, value in median.items()},
        "record_bytes": RECORD_BYTES,
        "n_get": len(times["get"]),
        "n_put": len(times["put"]),
    }


def _memory_steps(store: LmdbStore, data: np.ndarray) -> Steps:
    warm = np.empty_like(data)

    def get(turn: int) -> None:
        rows = store.get(_key(turn), _FIELDS)
        _check(rows is not None and rows.data.nbytes == RECORD_BYTES)

    return {"memcpy": lambda turn: np.copyto(warm, data), "get": get}


def _disk_steps(store: LmdbStore, file: int, data: np.ndarray) -> Steps:
    rows = StoredRows(data.data, _LAYOUT, (1, 64, 64))

    def write_and_fsync(turn: int) -> None:
        os.pwrite(file, data.data, turn % len(_KEYS) * RECORD_BYTES)
        os.fsync(file)

    return {
        "write_fsync": write_and_fsync,
        "put": lambda turn: _check(store.put(_key(turn), _FIELDS, rows).stored),
    }


def _key(turn: int) -> RowKey:
    pixels = (turn % len(_KEYS)).to_bytes(32, "big")
    return RowKey(tenant_id("bench"), pixels, variant(_FIELDS))


def _check(stored: bool) -> None:
    if not stored:
        raise RuntimeError("the store did not keep what was put")


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)))
