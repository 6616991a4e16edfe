"""Readers and writers in many threads: every read is a whole record, and closing waits for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from encoder_svc.store.core import StoredRows, StoreLimits
from encoder_svc.store.store import LmdbStore
from fovea.contract.errors import StoreClosed
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, FIELDS, KIB, LAYOUT, row_key, row_keys, rows, same

KEYS = 6


def filled(value: int, size: int) -> StoredRows:
    """Rows whose every byte is `value`, so that a mixture shows."""
    data = np.full(size // LAYOUT.row_bytes * LAYOUT.row_bytes, value, np.uint8)
    return StoredRows(data.data, LAYOUT, (1, 2, 2))


def write_some(store: LmdbStore, seed: int) -> int:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        n, value = int(rng.integers(KEYS)), int(rng.integers(256))
        assert store.put(row_key(n), FIELDS, filled(value, int(rng.integers(1, 900)) * KIB)).stored
    return 0


def read_some(store: LmdbStore, seed: int) -> int:
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(150):
        stored = store.get(row_key(int(rng.integers(KEYS))), FIELDS)
        if stored is not None:
            values = np.frombuffer(stored.data, np.uint8)
            assert (values == values[0]).all()
            hits += 1
    return hits


def test_readers_see_whole_records_while_writers_replace_and_evict(open_store: Opener) -> None:
    # Room for about five records of the average size: eviction is part of the race.
    store = open_store(StoreLimits(3 * MIB, MIB))
    write_some(store, 99)
    jobs: list[Callable[[LmdbStore, int], int]] = [write_some, write_some, *[read_some] * 4]
    with ThreadPoolExecutor(len(jobs)) as pool:
        done = [pool.submit(job, store, seed) for seed, job in enumerate(jobs)]
        assert sum(future.result() for future in done) > 0
    stats = store.stats().total.rows
    assert stats.failed_checks == stats.errors == stats.skipped_puts == 0
    assert stats.records == len(row_keys(store, ALICE))
    assert stats.bytes <= store.limits.rows.all_bytes


def test_closing_waits_for_reads_under_way(open_store: Opener) -> None:
    store = open_store()
    store.put(row_key(1), FIELDS, rows(1, 4 * MIB))
    started = threading.Barrier(5)

    def read_until_closed() -> int:
        hits = 0
        started.wait()
        try:
            while True:
                assert same(store.get(row_key(1), FIELDS), rows_1)
                hits += 1
        except StoreClosed:
            return hits

    rows_1 = rows(1, 4 * MIB)
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read_until_closed) for _ in range(4)]
        started.wait()
        store.close()
        for reader in readers:
            reader.result()


def test_no_reader_outlives_its_call(store: LmdbStore) -> None:
    store.put(row_key(1), FIELDS, rows(1))
    store.get(row_key(1), FIELDS)
    store.get(row_key(2), FIELDS)
    store.stats()
    row_keys(store, ALICE)
    # A line of header, and a line per reader inside a transaction; an idle slot says "-".
    readers = store._env.lmdb.readers().splitlines()[1:]
    assert [line for line in readers if line.split()[-1] != "-"] == []


def test_uses_recorded_by_gets_are_written_by_flush(open_store: Opener) -> None:
    store = open_store(StoreLimits(1000 * KIB, MIB))
    for n in range(3):
        store.put(row_key(n), FIELDS, rows(n, 200 * KIB))
    store.get(row_key(0), FIELDS)
    store.flush()
    assert store._rows._touched == {}
    store.put(row_key(3), FIELDS, rows(3, 200 * KIB))
    assert set(row_keys(store, ALICE)) == {row_key(0), row_key(2), row_key(3)}


def test_a_call_after_close_is_refused(store: LmdbStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.get(row_key(1), FIELDS)
    with pytest.raises(StoreClosed):
        store.put(row_key(1), FIELDS, rows(1))
