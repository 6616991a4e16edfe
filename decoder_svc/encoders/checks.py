"""What an encoder tells of rows, held against what was asked of it: nothing else reaches a report.

Reads the fields of the contract's messages without their types; `peer` receives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from decoder_svc.encoders.source import FetchReport, RowPlacement, RowRequest
from decoder_svc.errors import EncoderMismatch, RowsMismatch
from fovea.contract.rows import layout_from_proto, origin_from_proto


class Speaker(Protocol):
    """The encoder that spoke."""

    address: str

    def forget(self) -> None: ...


def mismatch(address: str, wanted: RowRequest, what: str) -> RowsMismatch:
    return RowsMismatch(f"rows of {wanted.digest} from {address}: {what}", encoder=address)


def places(kept: Sequence[int]) -> bytes:
    """As `RowRequest.kept` holds them."""
    return np.fromiter(kept, "<i4", len(kept)).tobytes() if max(kept, default=0) < 2**31 else b"?"


def take_header(peer: Speaker, wanted: RowRequest, header: Any, report: FetchReport) -> None:
    """Note what it tells, once it fits what was asked for."""
    _check_model(peer, wanted, header)
    if header.rows != wanted.rows or places(header.kept) != wanted.kept:
        what = f"{header.rows} rows in {len(header.kept)} places, expected {wanted.rows}"
        raise mismatch(peer.address, wanted, what)
    _note(header, report)


def take_summary(peer: Speaker, wanted: RowRequest, summary: Any, report: FetchReport) -> None:
    size = wanted.rows * wanted.layout.row_bytes
    if summary.row_bytes != size or not summary.rows_digest:
        raise mismatch(peer.address, wanted, f"a summary of {summary.row_bytes} bytes, expected {size}")
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
    _note(header, report)
    report.encode_ms = reply.timings.total_ms
    return RowPlacement(True, places(kept), header.rows, encoded, report)


def _check_model(peer: Speaker, wanted: RowRequest, header: Any) -> None:
    grid = (header.count.grid.t, header.count.grid.h, header.count.grid.w)
    if layout_from_proto(header.layout) != wanted.layout:
        peer.forget()
        raise mismatch(peer.address, wanted, "the layout is not the one agreed on")
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
