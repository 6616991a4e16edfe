"""The encoder's client returns complete, verified rows or an error."""

from __future__ import annotations

import hashlib

import pytest

from fovea.contract.cache import Deleted, Erasure
from fovea.contract.errors import ImageNotStored, RowsMismatch
from fovea.contract.plan import EncodePlan, Reducer, RowSelection, plan_from_proto
from fovea.contract.rows import digest

SOME = "sha256:" + "0" * 64


def test_rows_are_assembled_bit_for_bit(encoder_client, encoder):
    rows = encoder_client.encode(SOME, max_pixels=1_310_720)
    assert rows.data == encoder.data
    assert (rows.count, rows.width, rows.levels, rows.dtype) == (20_000, 8, 3, "bf16")
    assert (rows.source, rows.encoder, rows.rows_digest) == ("rows", "encoder-0", digest(encoder.data))
    assert rows.timings["tower_ms"] == 2.5


def test_a_plan_is_sent_in_full_and_its_kept_indices_are_returned(encoder_client, encoder):
    plan = EncodePlan(600_000, 0, RowSelection(0.5, reducer=Reducer.DIVPRUNE))
    placed = encoder_client.place_rows(SOME, plan, order=True, fingerprint="sha256:f")
    (sent_request,) = encoder.asked
    assert plan_from_proto(sent_request.encode.plan) == plan
    assert (sent_request.encode.digest, sent_request.encode.fingerprint) == (SOME, "sha256:f")
    assert (placed.known, placed.count, placed.kept, placed.order[0]) == (True, 32, tuple(range(48, 80)), 79)
    assert (placed.cost.tokens, placed.source, placed.encoder) == (80, "encoded", "encoder-0")
    assert encoder_client.place_rows(SOME, EncodePlan(flat_tolerance=0)).order == ()
    with pytest.raises(ValueError, match="max_pixels"):
        encoder_client.encode(SOME, 600_000, plan=plan)


def _of_chunk(change):
    """A `tamper` that modifies the second chunk."""

    def tamper(message):
        if message.WhichOneof("event") == "chunk" and message.chunk.first_row > 0:
            return change(message)
        return message

    return tamper


def _flip(message):
    message.chunk.data = b"\xff" + message.chunk.data[1:]
    return message


def _shift(message):
    message.chunk.first_row += 1
    return message


def _shorten(message):
    message.chunk.data = message.chunk.data[:-1]
    return message


def _without(kind):
    return lambda message: None if message.WhichOneof("event") == kind else message


def _wrong_digest(message):
    if message.WhichOneof("event") == "summary":
        message.summary.rows_digest = SOME
    return message


def _unknown_layout(message):
    if message.WhichOneof("event") == "header":
        message.header.layout.version = 99
    return message


def _other_total(message):
    if message.WhichOneof("event") == "header":
        message.header.count.tokens += 1
    return message


def _other_count(message):
    if message.WhichOneof("event") == "summary":
        message.summary.rows -= 1
    return message


TAMPERINGS = {
    "some of the rows without indices": _other_total,
    "other count in the summary": _other_count,
    "flipped bit": _of_chunk(_flip),
    "out of order": _of_chunk(_shift),
    "short chunk": _of_chunk(_shorten),
    "lost chunk": _of_chunk(lambda message: None),
    "no header": _without("header"),
    "no summary": _without("summary"),
    "wrong digest": _wrong_digest,
    "unknown layout": _unknown_layout,
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_rows_that_differ_from_their_header_are_refused(encoder_client, encoder, name):
    encoder.tamper = TAMPERINGS[name]
    with pytest.raises(RowsMismatch):
        encoder_client.encode(SOME)


def test_an_image_that_is_not_stored_is_reported(encoder_client):
    with pytest.raises(ImageNotStored):
        encoder_client.describe(SOME)


def test_the_cache_counts_records_and_can_be_emptied(encoder_client, encoder):
    stats = encoder_client.cache_stats()
    assert (stats.records, stats.hits, stats.record_capacity_bytes) == (3, 9, 4 << 30)
    gone = encoder_client.delete(SOME)
    assert (gone.uploads, gone.records, gone.bytes) == (1, 2, 4096)
    assert encoder.deleted == [SOME]


def test_a_size_is_counted_with_and_without_a_limit(encoder_client):
    assert encoder_client.count(1024, 1024).tokens == 1024
    assert encoder_client.count(1024, 1024, 262_144).tokens == 256
    assert encoder_client.count(1600, 1200, 16_777_216).tokens == 1900


def test_a_loading_encoder_reports_its_progress(encoder_client):
    info = encoder_client.info()
    assert (info.state, info.progress, info.details["name"]) == ("loading", 0.5, "encoder-0")
    assert info.details["layout"] is None


def test_a_deletion_takes_files_and_ids_and_names_who_did_not_confirm(
    client, encoder_client, decoder, encoder
):
    data = b"any bytes: the server decides what is an image"
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    deletion = client.delete(data)
    assert (deletion.complete, deletion.unconfirmed) == (False, ("b:1",))
    assert deletion.total == Deleted(1, 2, 4096, Erasure.AFTER_COMPACTION)
    client.delete(SOME)
    client.purge("acme")
    assert decoder.deleted == [digest, SOME, "acme"]
    assert encoder_client.delete(data).erasure is Erasure.ERASED
    assert encoder_client.purge("acme") == Deleted(3, 4, 8192)
    assert encoder.deleted == [digest, "acme"]
