"""The bound holds, and the most recently used records stay: after restarts, for gets and puts."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.keys import UploadKey
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, FIELDS, KIB, row_key, row_keys, rows, same

LIMITS = StoreLimits(capacity_bytes=1000 * KIB, uploads_bytes=500 * KIB)


def charge(size: int) -> int:
    """Bytes of a single-piece payload: whole pages with LMDB's page header, and another page."""
    return -(-(size + 16) // 4096) * 4096 + 4096


class Recency(RuleBasedStateMachine):
    """The store against a dictionary in order of use."""

    def __init__(self) -> None:
        super().__init__()
        # In shared memory if available: the test is about order and would spend its time in fsync.
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.model: OrderedDict[int, int] = OrderedDict()
        self.open()

    def open(self) -> None:
        self.store = LmdbStore(Path(self.folder.name), LIMITS)

    @rule(n=st.integers(0, 7), size=st.integers(1, 250))
    def put(self, n: int, size: int) -> None:
        self.model.pop(n, None)
        put = rows(n, size * KIB)
        while sum(self.model.values()) + charge(put.data.nbytes) > LIMITS.rows.all_bytes:
            self.model.popitem(last=False)
        self.model[n] = charge(put.data.nbytes)
        assert self.store.put(row_key(n), FIELDS, put).stored

    @rule(n=st.integers(0, 7))
    def get(self, n: int) -> None:
        stored = self.store.get(row_key(n), FIELDS)
        assert (stored is not None) == (n in self.model)
        if stored is not None:
            self.model.move_to_end(n)
            assert same(stored, rows(n, stored.data.nbytes))

    @rule(n=st.integers(0, 7))
    def delete(self, n: int) -> None:
        freed = self.store.delete_rows(ALICE, row_key(n).pixels)
        assert freed.bytes == self.model.pop(n, 0)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert set(row_keys(self.store, ALICE)) == {row_key(n) for n in self.model}
        total = self.store.stats().total.rows
        assert (total.records, total.bytes) == (len(self.model), sum(self.model.values()))
        assert total.bytes <= LIMITS.rows.all_bytes

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestRecency = Recency.TestCase
TestRecency.settings = settings(
    max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_get_keeps_a_record_from_being_evicted(open_store: Opener) -> None:
    store = open_store(LIMITS)
    for n in range(20):
        store.put(row_key(n), FIELDS, rows(n, 100 * KIB))
        assert same(store.get(row_key(0), FIELDS), rows(0, 100 * KIB))
    stats = store.stats().total.rows
    assert stats.evictions == 20 - stats.records


def test_a_recorded_use_counts_as_a_get(open_store: Opener) -> None:
    """Rows that were served from shared memory stay in the store; a missing key is harmless."""
    store = open_store(LIMITS)
    for n in range(3):
        store.put(row_key(n), FIELDS, rows(n, 250 * KIB))
    store.note_use(row_key(9))
    store.note_use(row_key(0))
    store.put(row_key(3), FIELDS, rows(3, 250 * KIB))
    assert set(row_keys(store, ALICE)) == {row_key(0), row_key(2), row_key(3)}
    assert store.stats().total.rows.hits == 2


def test_a_use_just_before_closing_counts_after_the_restart(open_store: Opener) -> None:
    first = open_store(LIMITS)
    for n in range(3):
        first.put(row_key(n), FIELDS, rows(n, 250 * KIB))
    first.get(row_key(0), FIELDS)
    first.close()
    second = open_store(LIMITS)
    second.put(row_key(3), FIELDS, rows(3, 250 * KIB))
    assert set(row_keys(second, ALICE)) == {row_key(0), row_key(2), row_key(3)}


def test_a_describe_keeps_an_upload_from_being_evicted(open_store: Opener) -> None:
    store = open_store(LIMITS)
    keys = [UploadKey(ALICE, bytes([n]) * 32) for n in range(20)]
    for n, key in enumerate(keys):
        assert store.put_upload(key, bytes([n]) * 100 * KIB, {"n": n}).stored
        assert store.describe(keys[0]) == {"n": 0}
    assert store.stats().total.uploads.bytes <= LIMITS.uploads.all_bytes


def test_uploads_and_rows_have_bounds_of_their_own(open_store: Opener) -> None:
    store = open_store(LIMITS)
    store.put(row_key(1), FIELDS, rows(1, 600 * KIB))
    for n in range(20):
        store.put_upload(UploadKey(ALICE, bytes([n]) * 32), bytes(300 * KIB), {})
    assert same(store.get(row_key(1), FIELDS), rows(1, 600 * KIB))


def test_a_smaller_bound_is_held_from_the_start(open_store: Opener) -> None:
    first = open_store(StoreLimits(8 * MIB, MIB))
    for n in range(100):
        first.put(row_key(n), FIELDS, rows(n, 60 * KIB))
    first.close()
    second = open_store(LIMITS)
    total = second.stats().total.rows
    assert total.bytes <= LIMITS.rows.all_bytes
    assert same(second.get(row_key(99), FIELDS), rows(99, 60 * KIB))
    assert second.get(row_key(0), FIELDS) is None


def test_the_file_stays_within_the_map(open_store: Opener) -> None:
    limits = StoreLimits(4 * MIB, MIB)
    store = open_store(limits)
    for n in range(300):
        assert store.put(row_key(n), FIELDS, rows(n, (n * 37) % 400 * KIB)).stored
    stats = store.stats()
    assert stats.total.rows.bytes <= limits.rows.all_bytes
    # Far below the map size, because freed pages are reused.
    assert stats.file_bytes <= 2 * (limits.capacity_bytes + limits.uploads_bytes)
    assert stats.file_bytes <= limits.map_bytes
