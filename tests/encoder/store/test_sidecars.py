"""Sidecars are bounded, checked, evicted and deleted like rows, and do not count as records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_svc.store.core import StoredRows, StoreLimits
from encoder_svc.store.facts import pack_indices, unpack_indices
from encoder_svc.store.keys import RowKey, sidecar, variant
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, BOB, FIELDS, KIB, LAYOUT, pixels, row_key, row_keys, rows, same
from tests.encoder.store.test_damage import flip

DATA = bytes(range(256)) * 10
NAME = "order.1"


def test_only_rows_are_counted_as_records(store: LmdbStore) -> None:
    store.put(row_key(1), FIELDS, rows(1))
    before = store.stats().total.rows
    assert store.get_sidecar(row_key(1), NAME, FIELDS) is None
    assert store.put_sidecar(row_key(1), NAME, FIELDS, DATA).stored
    assert store.get_sidecar(row_key(1), NAME, FIELDS) == DATA
    after = store.stats().total.rows
    assert after.bytes > before.bytes
    assert (after.records, after.puts, after.hits, after.misses) == (1, 1, 0, 0)
    assert row_keys(store, ALICE) == [row_key(1)]


def test_a_sidecar_is_keyed_by_rows_fields_and_name(store: LmdbStore) -> None:
    store.put_sidecar(row_key(1), NAME, FIELDS, DATA)
    assert store.get_sidecar(row_key(1), "order.2", FIELDS) is None
    assert store.get_sidecar(row_key(2), NAME, FIELDS) is None
    assert store.get_sidecar(row_key(1, BOB), NAME, FIELDS) is None
    with pytest.raises(ValueError, match="variant"):
        store.put_sidecar(row_key(1), NAME, {**FIELDS, "revision": 4}, DATA)
    assert store.get_sidecar(row_key(1), NAME, FIELDS) == DATA
    assert store.get_sidecar(row_key(1), NAME, {**FIELDS, "revision": 4}) is None, "other fields"


def test_sidecars_are_deleted_with_image_and_tenant(store: LmdbStore) -> None:
    """More than a transaction deletes, some of them without rows."""
    for revision in range(70):
        fields = {**FIELDS, "revision": revision}
        store.put_sidecar(RowKey(ALICE, pixels(1), variant(fields)), NAME, fields, DATA)
    store.put(row_key(1), FIELDS, rows(1))
    store.put_sidecar(row_key(2), NAME, FIELDS, DATA)
    used = store.stats().total.rows.bytes
    gone = store.delete_rows(ALICE, pixels(1))
    left = store.stats().total.rows
    assert (gone.records, left.records, left.bytes) == (1, 0, used - gone.bytes)
    assert left.bytes > 0
    assert store.delete_tenant(ALICE).bytes == left.bytes
    assert store.stats().total.rows.bytes == 0


def test_unused_sidecars_are_evicted(open_store: Opener) -> None:
    store = open_store(StoreLimits(2 * MIB, 8 * MIB))
    for name in ("used", "unused"):
        store.put_sidecar(row_key(0), name, FIELDS, DATA)
    for n in range(1, 40):
        store.put(row_key(n), FIELDS, rows(n, 100 * KIB))
        assert store.get_sidecar(row_key(0), "used", FIELDS) == DATA
    assert store.get_sidecar(row_key(0), "unused", FIELDS) is None
    stats = store.stats().total.rows
    assert stats.bytes <= store.limits.rows.all_bytes
    assert stats.evictions == 39 - stats.records


def test_a_damaged_sidecar_is_a_miss_and_is_counted(open_store: Opener, data_file: Path) -> None:
    store = open_store()
    store.put(row_key(1), FIELDS, rows(1))
    store.put_sidecar(row_key(1), NAME, FIELDS, DATA)
    store.close()
    flip(data_file, sidecar(row_key(1), NAME) + b'{"')
    store = open_store()
    assert store.get_sidecar(row_key(1), NAME, FIELDS) is None
    assert same(store.get(row_key(1), FIELDS), rows(1))
    stats = store.stats().total.rows
    assert (stats.failed_checks, stats.records, stats.misses) == (1, 1, 0)
    assert store.put_sidecar(row_key(1), NAME, FIELDS, DATA).stored


def test_kept_indices_survive_a_restart(open_store: Opener) -> None:
    whole = rows(1, 4 * KIB)
    indices = np.arange(3, 3 + 5 * whole.count, 5, dtype=np.int32)
    kept = StoredRows(whole.data, LAYOUT, whole.grid_thw, kept=indices)
    store = open_store()
    store.put(row_key(1), FIELDS, kept)
    store.close()
    store = open_store()
    facts = store.facts(row_key(1), FIELDS)
    assert facts is not None
    assert np.array_equal(facts.kept, indices)
    assert store.stats().total.rows.hits == 0, "reading facts counts as no use"
    assert same(store.get(row_key(1), FIELDS), kept)
    for some in ((0,), (7, 8), (0, 4095)):
        assert unpack_indices(pack_indices(np.array(some, np.int32))).tolist() == list(some)
    with pytest.raises(ValueError, match="places"):
        StoredRows(whole.data, LAYOUT, whole.grid_thw, kept=np.append(indices, 9999))
