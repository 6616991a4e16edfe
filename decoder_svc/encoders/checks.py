"""Checks an encoder's replies about rows against the request; only checked facts reach a report.

Reads the fields of the contract's messages without their types; `remote` receives the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Any, Protocol

import numpy as np

from decoder_svc.encoders.source import FetchReport, RowPlacement, RowRequest
from decoder_svc.errors import EncoderChanged
from fovea.contract.errors import EncoderMismatch, RowsMismatch, RowsNotFinite
from fovea.contract.image import StoredImage, facts_from_proto
from fovea.contract.rows import layout_from_proto, origin_from_proto
from fovea.finite import first_not_finite

CHANGED_RETRY_S = 1.0
LATEST_S = 253_402_300_799  # the last second of a Timestamp


class ReplyingEncoder(Protocol):
    """The encoder that sent the reply."""

    address: str

    def forget(self) -> None: ...


def mismatch(address: str, wanted: RowRequest, what: str) -> RowsMismatch:
    return RowsMismatch(f"rows of {wanted.digest} from {address}: {what}", encoder=address)


def check_finite(address: str, wanted: RowRequest, first: int, data: bytes | memoryview) -> None:
    """Raises RowsNotFinite if a row has NaN or infinity. `data` holds whole rows from row `first` on."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, wanted.layout.row_bytes)
    bad = first_not_finite(rows, wanted.layout)
    if bad is not None:
        raise RowsNotFinite(f"rows of {wanted.digest} from {address}", first + bad, wanted.layout.dtype.value)


def changed(encoder: ReplyingEncoder, what: str) -> EncoderChanged:
    """The error for a restarted encoder; its handshake is forgotten."""
    encoder.forget()
    return EncoderChanged(
        f"encoder {encoder.address} was started again with other settings: {what}",
        retry_after_s=CHANGED_RETRY_S,
        encoder=encoder.address,
    )


def places(kept: Sequence[int]) -> bytes:
    """Kept indexes as `RowRequest.kept` holds them."""
    return np.fromiter(kept, "<i4", len(kept)).tobytes() if max(kept, default=0) < 2**31 else b"?"


def stored_image(address: str, digest: str, reply: Any, already: bool) -> StoredImage:
    """The image facts of a reply. Raises RowsMismatch for facts of another image or out of range."""
    facts, expires = facts_from_proto(reply.facts), reply.expire_time
    shares = (facts.edge_density, facts.uniform_share)
    valid = (
        facts.digest == digest
        and min(facts.width, facts.height) > 0
        and 0 <= facts.text_height < inf
        and all(0 <= share <= 1 for share in shares)
        and 0 <= expires.seconds <= LATEST_S
        and 0 <= expires.nanos < 1_000_000_000
    )
    if not valid:
        raise RowsMismatch(f"encoder {address} sent impossible facts of {digest}", encoder=address)
    return StoredImage(facts, already, expires.seconds + expires.nanos / 1e9, address)


def take_header(encoder: ReplyingEncoder, wanted: RowRequest, header: Any, report: FetchReport) -> None:
    """Copy a header into the report after checking it against the request."""
    _check_model(encoder, wanted, header)
    if header.rows != wanted.rows or places(header.kept) != wanted.kept:
        what = f"{header.rows} rows in {len(header.kept)} places, expected {wanted.rows}"
        if wanted.kept:  # the indexes come from an earlier PlaceRows call
            raise changed(encoder, what)
        raise mismatch(encoder.address, wanted, what)
    _note(header, report)


def take_summary(encoder: ReplyingEncoder, wanted: RowRequest, summary: Any, report: FetchReport) -> None:
    size = wanted.rows * wanted.layout.row_bytes
    if summary.row_bytes != size or not summary.rows_digest:
        raise mismatch(encoder.address, wanted, f"a summary of {summary.row_bytes} bytes, expected {size}")
    if not 0 <= summary.timings.total_ms < inf:
        raise mismatch(encoder.address, wanted, f"encoded in {summary.timings.total_ms} ms")
    report.row_bytes = summary.row_bytes
    report.rows_digest = summary.rows_digest
    report.encode_ms = summary.timings.total_ms


def placed_rows(encoder: ReplyingEncoder, wanted: RowRequest, reply: Any) -> RowPlacement:
    """The checked PlaceRows reply; `wanted.rows` is the row count of the whole image."""
    header, report = reply.header, FetchReport()
    _check_model(encoder, wanted, header)
    kept = list(header.kept)
    if not reply.known:
        return RowPlacement(False, b"", wanted.rows, wanted.rows, report)
    if header.rows != (len(kept) or wanted.rows) or not _ascending(kept, wanted.rows):
        raise mismatch(encoder.address, wanted, f"{header.rows} rows in {len(kept)} places of {wanted.rows}")
    encoded = len(reply.order) or (header.rows if wanted.plan.rows.all else wanted.rows)
    if not header.rows <= encoded <= wanted.rows:
        raise mismatch(
            encoder.address, wanted, f"an order of {encoded} rows, of which {header.rows} are sent"
        )
    if not 0 <= reply.timings.total_ms < inf:
        raise mismatch(encoder.address, wanted, f"placed in {reply.timings.total_ms} ms")
    _note(header, report)
    report.encode_ms = reply.timings.total_ms
    return RowPlacement(True, places(kept), header.rows, encoded, report)


def _check_model(encoder: ReplyingEncoder, wanted: RowRequest, header: Any) -> None:
    grid = (header.count.grid.t, header.count.grid.h, header.count.grid.w)
    if layout_from_proto(header.layout) != wanted.layout:
        raise changed(encoder, "the layout of its rows has changed")
    if header.fingerprint != wanted.fingerprint:
        encoder.forget()
        raise EncoderMismatch(
            f"encoder {encoder.address} serves rows of another model", encoder=encoder.address
        )
    if grid != wanted.grid_thw:
        raise mismatch(encoder.address, wanted, f"a grid of {grid}, expected {wanted.grid_thw}")


def _note(header: Any, report: FetchReport) -> None:
    report.origin = origin_from_proto(header.source)
    report.encoder = header.encoder
    report.joined = header.joined


def _ascending(kept: Sequence[int], rows: int) -> bool:
    in_order = all(earlier < later for earlier, later in pairwise(kept))
    return in_order and (not kept or kept[-1] < rows)
