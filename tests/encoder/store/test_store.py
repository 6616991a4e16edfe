"""A put returns bit for bit, also after a restart, to its own tenant, until it is deleted."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import Put, StoredRows, StoreLimits
from encoder_svc.store.keys import RowKey, UploadKey, tenant_id, variant
from encoder_svc.store.records import PIECE_BYTES
from encoder_svc.store.store import LmdbStore
from fovea.contract.rows import RowDtype, RowLayout
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, BOB, FIELDS, KIB, LAYOUT, pixels, row_key, row_keys, rows, same

PICTURE = UploadKey(ALICE, b"i" * 32)
FACTS = {"format": "PNG", "size": [20, 10], "pixel_digest": "00ff"}


def test_an_unknown_key_is_a_miss(store: LmdbStore) -> None:
    assert store.get(row_key(1), FIELDS) is None
    assert store.get_upload(PICTURE) is None
    assert store.describe(PICTURE) is None
    assert store.stats().tenants[ALICE].rows.misses == 1


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 512, 4 * MIB])
def test_rows_round_trip_bit_for_bit(store: LmdbStore, size: int) -> None:
    assert store.put(row_key(1), FIELDS, rows(1, size)) == Put()
    assert same(store.get(row_key(1), FIELDS), rows(1, size))


@given(st.integers(1, 9), st.integers(0, 4), st.sampled_from(RowDtype), st.integers(1, 5))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_layout_grid_and_digest_round_trip(
    store: LmdbStore, width: int, levels: int, dtype: RowDtype, count: int
) -> None:
    layout = RowLayout(width, levels, dtype)
    data = memoryview(os.urandom(count * layout.row_bytes))
    put = StoredRows(data, layout, (1, 2, 2 * count), digest="sha256:00ff")
    assert store.put(row_key(1), FIELDS, put).stored
    assert same(store.get(row_key(1), FIELDS), put)


def test_get_returns_an_independent_copy(store: LmdbStore) -> None:
    store.put(row_key(1), FIELDS, rows(1))
    stored = store.get(row_key(1), FIELDS)
    store.delete_tenant(ALICE)
    for n in range(2, 40):
        store.put(row_key(n), FIELDS, rows(n))
    store.close()
    assert same(stored, rows(1))


def test_a_get_allocates_a_single_copy(store: LmdbStore) -> None:
    size = 4 * MIB
    store.put(row_key(1), FIELDS, rows(1, size))
    tracemalloc.start()
    try:
        stored = store.get(row_key(1), FIELDS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored is not None
    assert size <= peak < 1.1 * size


def test_a_later_put_replaces_an_earlier_put(store: LmdbStore) -> None:
    store.put(row_key(1), FIELDS, rows(1, MIB))
    store.put(row_key(1), FIELDS, rows(2, KIB))
    assert same(store.get(row_key(1), FIELDS), rows(2, KIB))
    assert store.stats().total.rows.records == 1
    assert store.stats().total.rows.bytes < 16 * KIB


def test_a_restart_keeps_everything(open_store: Opener) -> None:
    first = open_store()
    for n in range(5):
        first.put(row_key(n), FIELDS, rows(n))
    first.put_upload(PICTURE, b"image bytes", FACTS)
    before = first.stats().total
    first.close()
    second = open_store()
    assert all(same(second.get(row_key(n), FIELDS), rows(n)) for n in range(5))
    upload = second.get_upload(PICTURE)
    assert upload is not None
    assert (bytes(upload.data), upload.facts) == (b"image bytes", FACTS)
    after = second.stats()
    assert (after.total.rows.records, after.total.rows.bytes) == (5, before.rows.bytes)
    assert (after.total.uploads.records, after.total.uploads.bytes) == (1, before.uploads.bytes)
    assert not after.quarantined


def test_the_fields_must_match_the_key(store: LmdbStore) -> None:
    with pytest.raises(ValueError, match="variant"):
        store.put(row_key(1), {**FIELDS, "revision": 4}, rows(1))


def test_part_of_a_row_is_no_row() -> None:
    with pytest.raises(ValueError, match="whole rows"):
        StoredRows(memoryview(bytes(LAYOUT.row_bytes + 1)), LAYOUT, (1, 2, 2))


def test_rows_larger_than_the_bound_are_not_stored_and_cost_nothing(store: LmdbStore) -> None:
    store.put(row_key(1), FIELDS, rows(1))
    assert store.put(row_key(2), FIELDS, rows(2, 30 * MIB)) == Put("too_large")
    assert store.get(row_key(2), FIELDS) is None
    assert same(store.get(row_key(1), FIELDS), rows(1))
    assert store.stats().tenants[ALICE].rows.skipped_puts == 1


def test_without_room_for_rows_uploads_are_kept_and_rows_are_not(open_store: Opener) -> None:
    store = open_store(StoreLimits(0, 8 * MIB))
    assert store.put(row_key(1), FIELDS, rows(1)) == Put("off")
    assert store.put_upload(PICTURE, b"x", FACTS).stored
    assert store.get(row_key(1), FIELDS) is None
    assert store.describe(PICTURE) == FACTS
    assert store.stats().tenants[ALICE].rows.skipped_puts == 0


def test_an_upload_is_described_without_its_bytes(store: LmdbStore) -> None:
    store.put_upload(PICTURE, b"x" * MIB, FACTS)
    assert store.describe(PICTURE) == FACTS
    assert store.delete_upload(PICTURE).records == 1
    assert store.describe(PICTURE) is None
    assert store.delete_upload(PICTURE) == Amount()


def test_a_tenant_does_not_see_records_of_other_tenants(store: LmdbStore) -> None:
    store.put(row_key(1, ALICE), FIELDS, rows(1))
    store.put_upload(PICTURE, b"image", FACTS)
    assert same(store.get(row_key(1, ALICE), FIELDS), rows(1))
    assert store.get(row_key(1, BOB), FIELDS) is None
    assert store.describe(UploadKey(BOB, PICTURE.image)) is None
    assert row_keys(store, BOB) == []
    assert BOB not in {key.tenant for key in row_keys(store, ALICE)}


def test_purging_a_tenant_leaves_the_others(store: LmdbStore) -> None:
    for n in range(150):  # deleted in several transactions
        store.put(row_key(n, ALICE), FIELDS, rows(n, KIB))
    store.put(row_key(1, BOB), FIELDS, rows(1))
    store.put_upload(PICTURE, b"image", FACTS)
    before = store.stats().tenants[ALICE]
    freed = store.delete_tenant(ALICE)
    assert freed == Amount(151, before.rows.bytes + before.uploads.bytes)
    assert (row_keys(store, ALICE), store.get_upload(PICTURE)) == ([], None)
    assert same(store.get(row_key(1, BOB), FIELDS), rows(1))
    left = store.stats().tenants[ALICE]
    assert (left.rows.bytes, left.uploads.bytes) == (0, 0)


def test_purging_an_image_takes_all_its_plans_and_no_other_image(store: LmdbStore) -> None:
    for revision in range(3):
        fields = {**FIELDS, "revision": revision}
        store.put(RowKey(ALICE, pixels(1), variant(fields)), fields, rows(revision))
    store.put(row_key(2), FIELDS, rows(2))
    store.put(row_key(1, BOB), FIELDS, rows(1))
    assert store.delete_rows(ALICE, pixels(1)).records == 3
    assert row_keys(store, ALICE) == [row_key(2)]
    assert row_keys(store, BOB) == [row_key(1, BOB)]


@pytest.mark.parametrize("tenant", [b"", ALICE[:15], ALICE + b"x"])
def test_a_purge_by_part_of_a_tenant_is_refused(store: LmdbStore, tenant: bytes) -> None:
    store.put(row_key(1), FIELDS, rows(1))
    with pytest.raises(ValueError, match="16 bytes"):
        store.delete_tenant(tenant)
    with pytest.raises(ValueError, match="16 bytes"):
        store.delete_rows(tenant, pixels(1))
    assert row_keys(store, ALICE) == [row_key(1)]


def test_counts_are_by_tenant(store: LmdbStore) -> None:
    store.put(row_key(1, ALICE), FIELDS, rows(1))
    store.get(row_key(1, ALICE), FIELDS)
    store.get(row_key(1, BOB), FIELDS)
    store.put_upload(UploadKey(BOB, b"i" * 32), b"image", FACTS)
    tenants = store.stats().tenants
    alice, bob = tenants[ALICE], tenants[BOB]
    assert (alice.rows.puts, alice.rows.hits, alice.rows.misses) == (1, 1, 0)
    assert (bob.rows.puts, bob.rows.hits, bob.rows.misses) == (0, 0, 1)
    assert (alice.uploads.records, bob.uploads.records) == (0, 1)
    assert tenant_id("carol") not in tenants


def test_the_folder_is_private_to_the_user(store: LmdbStore, data_file: Path) -> None:
    assert data_file.parent.stat().st_mode & 0o777 == 0o700
    assert data_file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("rows_bytes", "uploads_bytes"), [(1, 0), (-1, 1)])
def test_a_store_without_room_for_uploads_is_refused(rows_bytes: int, uploads_bytes: int) -> None:
    with pytest.raises(ValueError, match="room"):
        StoreLimits(rows_bytes, uploads_bytes)
