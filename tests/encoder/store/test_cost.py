"""Opening a store that is full reads its index, not its rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from encoder_svc.store import LmdbStore, StoreLimits
from tests.encoder.store.conftest import MIB
from tests.encoder.store.samples import FIELDS, row_key, rows, same

LIMITS = StoreLimits(128 * MIB, MIB)
RECORDS, RECORD_BYTES = 24, 4 * MIB
OPEN_AND_COUNT = """
import resource, sys
from pathlib import Path
from encoder_svc.store import LmdbStore
from tests.encoder.store.test_cost import LIMITS
blocks = lambda: sum(resource.getrusage(who).ru_inblock for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
before = blocks()
store = LmdbStore(Path(sys.argv[1]), LIMITS)
print((blocks() - before) * 512)
"""


def forget(file: Path) -> None:
    """Drop the file from the page cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def is_forgotten(file: Path) -> bool:
    """Whether the page cache dropped the file. The check reads the whole file, so it must be dropped again."""
    return bytes_read_by(f"open({str(file)!r}, 'rb').read()") > RECORDS * RECORD_BYTES // 2


def bytes_read_by(code: str) -> int:
    script = f"import resource\n{code}\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_inblock * 512)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_opening_reads_a_small_part_of_the_file(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, LIMITS) as store:
        assert all(store.put(row_key(n), FIELDS, rows(n, RECORD_BYTES)).stored for n in range(RECORDS))
    data_file = tmp_path / "env" / "data.mdb"
    forget(data_file)
    if not is_forgotten(data_file):
        pytest.skip("this file system keeps what was asked to be forgotten, or counts no reads")
    forget(data_file)
    command = [sys.executable, "-c", OPEN_AND_COUNT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < RECORDS * RECORD_BYTES // 4
    with LmdbStore(tmp_path, LIMITS) as store:
        assert same(store.get(row_key(3), FIELDS), rows(3, RECORD_BYTES))
