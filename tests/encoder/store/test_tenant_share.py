"""A tenant over its share evicts its own records, never those of others."""

from __future__ import annotations

import pytest

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.keys import UploadKey, pool_id
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, BOB, FIELDS, KIB, pixels, row_key, row_keys, rows

PAGE = 4096
# Two pages a record: 100 records in all, 40 of a tenant.
CHARGE, SIZE = 2 * PAGE, 3 * KIB
LIMITS = StoreLimits(100 * CHARGE * 5 // 4, MIB, tenant_share=0.4)


def put(store: LmdbStore, numbers: range, tenant: bytes) -> None:
    assert all(store.put(row_key(n, tenant), FIELDS, rows(n, SIZE)).stored for n in numbers)


def numbers(store: LmdbStore, tenant: bytes) -> set[int]:
    names = {pixels(n): n for n in range(200)}
    return {names[key.pixels] for key in row_keys(store, tenant)}


def test_at_the_limit_nothing_is_evicted_and_one_past_it_the_tenants_oldest(open_store: Opener) -> None:
    store = open_store(LIMITS)
    put(store, range(100, 110), BOB)
    put(store, range(40), ALICE)
    assert LIMITS.rows.tenant_bytes == store.stats().tenants[ALICE].rows.bytes
    assert numbers(store, ALICE) == set(range(40))
    store.get(row_key(0, ALICE), FIELDS)
    put(store, range(40, 41), ALICE)
    left = numbers(store, ALICE)
    assert {0, 40} < left
    assert 1 not in left
    assert store.stats().tenants[ALICE].rows.bytes <= LIMITS.rows.tenant_bytes
    assert store.total() == store.stats().total
    assert numbers(store, BOB) == set(range(100, 110))


def test_one_tenant_cannot_evict_the_records_of_another(open_store: Opener) -> None:
    store = open_store(LIMITS)
    put(store, range(10), BOB)
    put(store, range(150), ALICE)
    assert numbers(store, BOB) == set(range(10))


def test_without_a_share_it_can(open_store: Opener) -> None:
    store = open_store(StoreLimits(LIMITS.capacity_bytes, MIB))
    put(store, range(10), BOB)
    put(store, range(150), ALICE)
    assert numbers(store, BOB) == set()


def test_a_record_larger_than_the_share_is_not_stored(open_store: Opener) -> None:
    store = open_store(LIMITS)
    largest = LIMITS.rows.tenant_bytes - PAGE - 16
    assert store.put_sidecar(row_key(1), "x", FIELDS, bytes(largest - 16 * PAGE)).stored
    assert store.put_sidecar(row_key(1), "x", FIELDS, bytes(largest + PAGE)).skipped == "too_large"


def test_uploads_have_a_share_too(open_store: Opener) -> None:
    store = open_store(LIMITS)
    store.put_upload(UploadKey(BOB, pixels(1)), bytes(50 * KIB), {})
    for n in range(100):
        assert store.put_upload(UploadKey(ALICE, pixels(n)), bytes(50 * KIB), {}).stored
    assert store.get_upload(UploadKey(BOB, pixels(1))) is not None
    assert store.stats().tenants[ALICE].uploads.bytes <= LIMITS.uploads.tenant_bytes


def test_rows_that_tenants_share_may_take_all(open_store: Opener) -> None:
    store = open_store(LIMITS)
    put(store, range(100), pool_id())
    assert numbers(store, pool_id()) == set(range(100))


def test_a_smaller_share_is_held_from_the_start(open_store: Opener) -> None:
    first = open_store(LIMITS)
    put(first, range(40), ALICE)
    first.close()
    smaller = StoreLimits(LIMITS.capacity_bytes, MIB, tenant_share=0.2)
    second = open_store(smaller)
    assert second.stats().tenants[ALICE].rows.bytes <= smaller.rows.tenant_bytes
    assert 39 in numbers(second, ALICE)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_fraction(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        StoreLimits(MIB, MIB, share)
