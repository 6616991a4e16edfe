"""What an encoder tells of rows, held against what was asked of it: nothing else reaches a report.

Reads the fields of the contract's messages without their types; `peer` receives them.
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


class Speaker(Protocol):
    """The encoder that spoke."""

    address: str

    def forget(self) -> None: ...


def mismatch(address: str, wanted: RowRequest, what: str) -> RowsMismatch:
    return RowsMismatch(f"rows of {wanted.digest} from {address}: {what}", encoder=address)


def check_finite(address: str, wanted: RowRequest, first: int, data: bytes | memoryview) -> None:
    """Raises RowsNotFinite for whole rows from `first` on: nothing may keep or compute with such rows."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, wanted.layout.row_bytes)
    bad = first_not_finite(rows, wanted.layout)
    if bad is not None:
        raise RowsNotFinite(f"rows of {wanted.digest} from {address}", first + bad, wanted.layout.dtype.value)


def changed(peer: Speaker, what: str) -> EncoderChanged:
    """What was asked of this encoder before holds no longer."""
    peer.forget()
    return EncoderChanged(
        f"encoder {peer.address} was started again with other settings: {what}",
        retry_after_s=CHANGED_RETRY_S,
        encoder=peer.address,
    )


def places(kept: Sequence[int]) -> bytes:
    """As `RowRequest.kept` holds them."""
    return np.fromiter(kept, "<i4", len(kept)).tobytes() if max(kept, default=0) < 2**31 else b"?"


def stored_image(address: str, digest: str, reply: Any, already: bool) -> StoredImage:
    """What an encoder tells of an image, if it is about this image and possible."""
    facts, expires = facts_from_proto(reply.facts), reply.expire_time
    shares = (facts.edge_density, facts.uniform_share)
    fits = (
        facts.digest == digest
        and min(facts.width, facts.height) > 0
        and 0 <= facts.text_height < inf
        and all(0 <= share <= 1 for share in shares)
        and 0 <= expires.seconds <= LATEST_S
        and 0 <= expires.nanos < 1_000_000_000
    )
    if not fits:
        raise RowsMismatch(f"what encoder {address} tells of {digest} cannot be", encoder=address)
    return StoredImage(facts, already, expires.seconds + expires.nanos / 1e9, address)


def take_header(peer: Speaker, wanted: RowRequest, header: Any, report: FetchReport) -> None:
    """Note what it tells, once it fits what was asked for."""
    _check_model(peer, wanted, header)
    if header.rows != wanted.rows or places(header.kept) != wanted.kept:
        what = f"{header.rows} rows in {len(header.kept)} places, expected {wanted.rows}"
        if wanted.kept:  # placed by a call before this one
            raise changed(peer, what)
        raise mismatch(peer.address, wanted, what)
    _note(header, report)


def take_summary(peer: Speaker, wanted: RowRequest, summary: Any, report: FetchReport) -> None:
    size = wanted.rows * wanted.layout.row_bytes
    if summary.row_bytes != size or not summary.rows_digest:
        raise mismatch(peer.address, wanted, f"a summary of {summary.row_bytes} bytes, expected {size}")
    if not 0 <= summary.timings.total_ms < inf:
        raise mismatch(peer.address, wanted, f"encoded in {summary.timings.total_ms} ms")
    report.row_bytes = summary.row_bytes
    report.rows_digest = summary.rows_digest
    report.encode_ms = summary.timings.total_ms


def placed_rows(peer: Speaker, wanted: RowRequest, reply: Any) -> RowPlacement:
    """Places that an image of this grid has, in order; `wanted.rows` are those of the whole image."""
    header, report = reply.header, FetchReport()
    _check_model(peer, wanted, header)
    kept = list(header.kept)
    if not reply.known:
        return RowPlacement(False, b"", wanted.rows, wanted.rows, report)
    if header.rows != (len(kept) or wanted.rows) or not _ascending(kept, wanted.rows):
        raise mismatch(peer.address, wanted, f"{header.rows} rows in {len(kept)} places of {wanted.rows}")
    encoded = len(reply.order) or (header.rows if wanted.plan.rows.all else wanted.rows)
    if not header.rows <= encoded <= wanted.rows:
        raise mismatch(peer.address, wanted, f"an order of {encoded} rows, of which {header.rows} are sent")
    if not 0 <= reply.timings.total_ms < inf:
        raise mismatch(peer.address, wanted, f"placed in {reply.timings.total_ms} ms")
    _note(header, report)
    report.encode_ms = reply.timings.total_ms
    return RowPlacement(True, places(kept), header.rows, encoded, report)


def _check_model(peer: Speaker, wanted: RowRequest, header: Any) -> None:
    grid = (header.count.grid.t, header.count.grid.h, header.count.grid.w)
    if layout_from_proto(header.layout) != wanted.layout:
        raise changed(peer, "the layout of its rows is another one")
    if header.fingerprint != wanted.fingerprint:
        peer.forget()
        raise EncoderMismatch(f"encoder {peer.address} serves rows of another model", encoder=peer.address)
    if grid != wanted.grid_thw:
        raise mismatch(peer.address, wanted, f"a grid of {grid}, expected {wanted.grid_thw}")


def _note(header: Any, report: FetchReport) -> None:
    report.origin = origin_from_proto(header.source)
    report.encoder = header.encoder
    report.joined = header.joined


def _ascending(kept: Sequence[int], rows: int) -> bool:
    in_order = all(earlier < later for earlier, later in pairwise(kept))
    return in_order and (not kept or kept[-1] < rows)
