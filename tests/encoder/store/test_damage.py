"""Damage on disk costs the record or the environment, and never gives wrong bytes or an exception."""

from __future__ import annotations

import json
import os
from pathlib import Path

import lmdb
import numpy as np
import pytest

from encoder_svc.store.core import StoredRows
from encoder_svc.store.datafile import missing_bytes
from encoder_svc.store.directory import StoreDirectory
from encoder_svc.store.facts import pack_rows
from encoder_svc.store.keys import RowKey, UploadKey, variant
from encoder_svc.store.records import PIECE_BYTES, Record
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.conftest import MIB, Opener
from tests.encoder.store.samples import ALICE, FIELDS, KIB, LAYOUT, pixels, row_key, row_keys, rows, same

# Three pieces.
SIZE = 2 * PIECE_BYTES + 8 * KIB


def flip(file: Path, sample: bytes) -> None:
    """Flip a bit of every copy of `sample` in the file: pages that were freed may hold older ones."""
    raw = bytearray(file.read_bytes())
    place = raw.find(sample)
    assert place >= 0
    while place >= 0:
        raw[place] ^= 0x10
        place = raw.find(sample, place + 1)
    file.write_bytes(raw)


def stored_two(open_store: Opener) -> tuple[StoredRows, StoredRows]:
    store = open_store()
    store.put(row_key(1), FIELDS, rows(1, SIZE))
    store.put(row_key(2), FIELDS, rows(2, SIZE))
    store.close()
    return rows(1, SIZE), rows(2, SIZE)


def assert_evicted(store: LmdbStore) -> None:
    """Record 1 is a miss, counted and gone; record 2 is as it was."""
    assert store.get(row_key(1), FIELDS) is None
    stats = store.stats()
    assert stats.total.rows.failed_checks == 1
    assert stats.total.rows.misses == 1
    assert stats.total.rows.records == 1
    assert not stats.quarantined
    assert row_keys(store, ALICE) == [row_key(2)]
    assert same(store.get(row_key(2), FIELDS), rows(2, SIZE))
    assert store.put(row_key(1), FIELDS, rows(1, SIZE)).stored
    assert same(store.get(row_key(1), FIELDS), rows(1, SIZE))


@pytest.mark.parametrize("place", [0, PIECE_BYTES - 32, PIECE_BYTES, SIZE - LAYOUT.row_bytes])
def test_a_flipped_bit_in_a_piece_is_a_miss(open_store: Opener, data_file: Path, place: int) -> None:
    first, _ = stored_two(open_store)
    flip(data_file, bytes(first.data[place : place + 32]))
    assert_evicted(open_store())


@pytest.mark.parametrize(
    "sample", [b'"grid_thw"', row_key(1).raw + b'{"', b"FVRC"], ids=["facts", "key", "magic"]
)
def test_a_flipped_bit_in_a_header_is_a_miss(open_store: Opener, data_file: Path, sample: bytes) -> None:
    stored_two(open_store)
    flip(data_file, sample)
    store = open_store()
    assert store.get(row_key(1), FIELDS) is None
    assert store.stats().total.rows.failed_checks == 1


def test_a_flipped_bit_in_an_upload_is_a_miss(open_store: Opener, data_file: Path) -> None:
    store, key = open_store(), UploadKey(ALICE, b"i" * 32)
    store.put_upload(key, bytes(rows(1, SIZE).data), {"format": "PNG"})
    store.close()
    flip(data_file, bytes(rows(1, SIZE).data[:32]))
    store = open_store()
    assert store.get_upload(key) is None
    assert store.stats().total.uploads.failed_checks == 1
    assert store.describe(key) is None


def edit(data_file: Path, name: bytes, changes: dict[bytes, bytes | None]) -> None:
    """Put or delete values of a sub-database behind the store's back."""
    with (
        lmdb.open(str(data_file.parent), map_size=256 * MIB, max_dbs=16) as env,
        env.begin(write=True, db=env.open_db(name)) as txn,
    ):
        for key, value in changes.items():
            if value is None:
                txn.delete(key)
            else:
                txn.put(key, value)


def header(key: RowKey, fields: dict[str, str | int], put: StoredRows) -> bytes:
    return Record.cut(key.raw, pack_rows(fields, put), put.data, created=0.0).head.pack()


def test_the_record_of_another_key_is_a_miss(open_store: Opener, data_file: Path) -> None:
    stored_two(open_store)
    edit(data_file, b"rows.heads", {row_key(1).raw: header(row_key(2), FIELDS, rows(2, SIZE))})
    assert_evicted(open_store())


def test_a_record_of_other_fields_is_a_miss(open_store: Opener, data_file: Path) -> None:
    stored_two(open_store)
    other = {**FIELDS, "revision": 4}
    edit(data_file, b"rows.heads", {row_key(1).raw: header(row_key(1), other, rows(1, SIZE))})
    assert_evicted(open_store())


def test_asking_with_other_fields_is_a_miss(open_store: Opener) -> None:
    stored_two(open_store)
    store = open_store()
    assert store.get(row_key(1), {**FIELDS, "revision": 4}) is None
    assert store.stats().total.rows.failed_checks == 1


def test_a_piece_of_another_record_is_a_miss(open_store: Opener, data_file: Path) -> None:
    _, two = stored_two(open_store)
    piece = row_key(1).raw + (1).to_bytes(4, "big")
    edit(data_file, b"rows.pieces", {piece: bytes(two.data[PIECE_BYTES : 2 * PIECE_BYTES])})
    assert_evicted(open_store())


def test_a_missing_piece_is_a_miss(open_store: Opener) -> None:
    stored_two(open_store)
    store = open_store()
    with store._env.write() as txn:
        txn.delete(row_key(1).raw + (2).to_bytes(4, "big"), db=store._env.partitions["rows"].tables.pieces)
    assert_evicted(store)


@pytest.mark.parametrize("change", [{"rows": 3}, {"width": 32}, {"dtype": "fp99"}, {"grid_thw": [1]}])
def test_facts_that_disagree_with_the_length_are_a_miss(
    open_store: Opener, data_file: Path, change: dict[str, object]
) -> None:
    first, _ = stored_two(open_store)
    facts = json.dumps(json.loads(pack_rows(FIELDS, first)) | change).encode()
    head = Record.cut(row_key(1).raw, facts, first.data, created=0.0).head.pack()
    edit(data_file, b"rows.heads", {row_key(1).raw: head})
    assert_evicted(open_store())


def test_a_truncated_file_is_set_aside(open_store: Opener, data_file: Path) -> None:
    stored_two(open_store)
    os.truncate(data_file, data_file.stat().st_size - 4096)
    store = open_store()
    assert store.stats().quarantined
    assert store.get(row_key(1), FIELDS) is None
    assert store.put(row_key(1), FIELDS, rows(1)).stored
    assert (data_file.parent.parent / "env.set-aside" / "data.mdb").exists()
    store.close()
    assert not open_store().stats().quarantined


@pytest.mark.parametrize("length", [0, 1, 100, 4096, 8192])
def test_a_file_cut_to_its_first_bytes_is_never_fatal(
    open_store: Opener, data_file: Path, length: int
) -> None:
    stored_two(open_store)
    os.truncate(data_file, length)
    store = open_store()
    assert store.get(row_key(1), FIELDS) is None
    assert store.put(row_key(1), FIELDS, rows(1)).stored


def test_a_file_of_noise_is_set_aside(open_store: Opener, data_file: Path) -> None:
    stored_two(open_store)
    data_file.write_bytes(np.random.default_rng(0).bytes(64 * KIB))
    assert open_store().stats().quarantined


def test_the_length_needed_is_that_of_lmdb(open_store: Opener, data_file: Path) -> None:
    stored_two(open_store)
    with lmdb.open(str(data_file.parent), map_size=256 * MIB, max_dbs=16) as env:
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    assert missing_bytes(data_file) == 0
    os.truncate(data_file, needed - 1)
    assert missing_bytes(data_file) == 1


def test_another_schema_is_set_aside(open_store: Opener, data_file: Path) -> None:
    stored_two(open_store)
    with lmdb.open(str(data_file.parent), map_size=256 * MIB) as env, env.begin(write=True) as txn:
        txn.put(b"schema", b"0")
    assert open_store().stats().quarantined


def test_damage_reported_by_lmdb_is_set_aside_at_the_next_opening(open_store: Opener, tmp_path: Path) -> None:
    stored_two(open_store)
    directory = StoreDirectory(tmp_path / "store")
    directory.mark_suspect()
    directory.release()
    store = open_store()
    assert store.stats().quarantined
    store.close()
    assert not open_store().stats().quarantined


def test_only_the_last_environment_set_aside_is_kept(open_store: Opener, data_file: Path) -> None:
    for _ in range(3):
        stored_two(open_store)
        os.truncate(data_file, data_file.stat().st_size - 4096)
    open_store()
    names = sorted(path.name for path in data_file.parent.parent.iterdir())
    assert names == ["env", "env.set-aside", "lock"]


def test_a_second_read_of_a_replaced_record_keeps_the_good_one(open_store: Opener) -> None:
    """Discards the record that failed, not its replacement."""
    store = open_store()
    store.put(row_key(1), FIELDS, rows(1))
    stale = Record.cut(row_key(1).raw, b"{}", b"x", created=0.0).head.pack()
    store._rows._discard(row_key(1).raw, stale)
    assert same(store.get(row_key(1), FIELDS), rows(1))


def test_variants_of_an_image_do_not_mix(open_store: Opener) -> None:
    store = open_store()
    other = {**FIELDS, "revision": 4}
    store.put(row_key(1), FIELDS, rows(1))
    store.put(RowKey(ALICE, pixels(1), variant(other)), other, rows(2))
    assert same(store.get(row_key(1), FIELDS), rows(1))
    assert same(store.get(RowKey(ALICE, pixels(1), variant(other)), other), rows(2))
