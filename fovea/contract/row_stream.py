"""Rows on their way from an encoder: header, chunks, summary, and the checks that every receiver makes.

Nothing received is trusted. `RowStream` checks the events of an Encode stream against their header; a caller
that expects certain rows compares the header with its request as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
import xxhash
from numpy.typing import NDArray

from fovea.contract import frames
from fovea.contract.codec import scalar_fields
from fovea.contract.count import TokenCount, token_count_from_proto
from fovea.contract.errors import RowsMismatch
from fovea.contract.frames import ChunkFrame
from fovea.contract.ids import is_digest
from fovea.contract.plan import EncodePlan
from fovea.contract.rows import RowLayout, RowOrigin, layout_from_proto, origin_from_proto
from fovea.encoder.v1 import encoder_pb2

UNKNOWN_EVENTS = 8
"""Consecutive events of unknown kind after which a stream counts as broken."""

GridIndices = NDArray[np.int32]
"""Indices in the merged grid. Kept indices ascend, and None stands for every row."""
Mismatch = Callable[[str], RowsMismatch]
"""Builds the error for a failed check from its text."""


@dataclass(frozen=True, eq=False)
class RowHeader:
    """Precedes the rows of an image. `layout` is None if it is unknown to this version.

    `count` is the cost of the whole image; `joined` if another call computed the rows.
    """

    layout: RowLayout | None
    rows: int
    count: TokenCount
    origin: RowOrigin
    fingerprint: str
    encoder: str
    joined: bool
    kept: GridIndices | None


@dataclass(frozen=True)
class RowSummary:
    """Follows the rows. `timings` are the encoder's milliseconds by stage."""

    rows: int
    row_bytes: int
    rows_digest: str
    timings: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class RowPlacement:
    """Which rows of an image a plan sends: `header.rows` rows at `header.kept`.

    If not `known`, because only the tower could tell and did not run, the header is that of the whole image.
    `order` are the indices of all encoded rows by decreasing importance, if requested and the plan selects
    rows.
    """

    known: bool
    header: RowHeader
    order: NDArray[np.int32]
    timings: Mapping[str, float]

    def encoded(self, plan: EncodePlan, total: int) -> int:
        """Rows that the tower computes for an image of `total` rows; the plan selects among them."""
        return len(self.order) or (self.header.rows if plan.rows.all else total)


RowEvent = RowHeader | ChunkFrame | RowSummary


def kept_from_proto(indices: Iterable[int]) -> GridIndices | None:
    """Kept indices as sent, unchecked; an index beyond int32 becomes negative, which no check accepts."""
    kept = _indices(indices)
    return kept if len(kept) else None


def _indices(indices: Iterable[int]) -> NDArray[np.int32]:
    return np.array(indices, np.uint32).astype(np.int32)


def kept_bytes(kept: GridIndices | None) -> bytes:
    """The indices as little-endian int32, for keys and hashes; empty for every row."""
    return b"" if kept is None else kept.astype("<i4").tobytes()


def are_kept_indices(kept: NDArray[np.int32], total: int) -> bool:
    """Whether `kept` are ascending indices below `total`, at least one."""
    in_range = kept.ndim == 1 and len(kept) > 0 and kept[0] >= 0 and kept[-1] < total
    return bool(in_range and np.all(kept[1:] > kept[:-1]))  # a difference of int32 may wrap


def header_from_proto(message: encoder_pb2.EncodeHeader) -> RowHeader:
    return RowHeader(
        layout=layout_from_proto(message.layout),
        rows=message.rows,
        count=token_count_from_proto(message.count),
        origin=origin_from_proto(message.source),
        fingerprint=message.fingerprint,
        encoder=message.encoder,
        joined=message.joined,
        kept=kept_from_proto(message.kept),
    )


def summary_from_proto(message: encoder_pb2.EncodeSummary) -> RowSummary:
    timings = scalar_fields(message.timings)
    return RowSummary(message.rows, message.row_bytes, message.rows_digest, timings)


def placement_from_proto(message: encoder_pb2.PlaceRowsResponse) -> RowPlacement:
    header, timings = header_from_proto(message.header), scalar_fields(message.timings)
    return RowPlacement(message.known, header, _indices(message.order), timings)


def event_from_proto(message: encoder_pb2.EncodeResponse) -> RowEvent | None:
    """None for an event of a newer encoder."""
    kind = message.WhichOneof("event")
    if kind == "header":
        return header_from_proto(message.header)
    if kind == "summary":
        return summary_from_proto(message.summary)
    if kind == "chunk":
        chunk = message.chunk
        return ChunkFrame(chunk.first_row, chunk.rows, chunk.data, chunk.xxh3)
    return None


def read_event(message: bytes) -> RowEvent | None:
    """The event of a serialised message, the data of a chunk without a copy. Raises DecodeError."""
    return frames.read(message) or event_from_proto(encoder_pb2.EncodeResponse.FromString(message))


def check_kept(header: RowHeader, total: int, mismatch: Mismatch) -> None:
    """Raises `mismatch` unless the header has an ascending index below `total` for each row, or all rows."""
    kept = header.kept
    if kept is None and header.rows != total:
        raise mismatch(f"{header.rows} of {total} rows without kept indices")
    if kept is not None and (len(kept) != header.rows or not are_kept_indices(kept, total)):
        raise mismatch(f"{len(kept)} kept indices for {header.rows} rows, or indices outside of the grid")


def check_summary(summary: RowSummary, rows: int, layout: RowLayout, mismatch: Mismatch) -> None:
    size, total_ms = rows * layout.row_bytes, summary.timings["total_ms"]
    if (summary.rows, summary.row_bytes) != (rows, size) or not is_digest(summary.rows_digest):
        received = f"{summary.rows} rows and {summary.row_bytes} bytes"
        raise mismatch(f"a summary of {received}, expected {rows} and {size}, or no digest of the rows")
    if not 0 <= total_ms < inf:
        raise mismatch(f"encoded in {total_ms} ms")


class RowStream:
    """The state of an Encode stream: a header, then chunks, then a summary.

    `take` every event, then call `end`. Raises `mismatch` at the first inconsistency.
    """

    def __init__(self, mismatch: Mismatch = RowsMismatch) -> None:
        self.header: RowHeader | None = None
        self.summary: RowSummary | None = None
        self.next_row = 0
        self._mismatch = mismatch
        self._unknown = 0

    def take(self, event: RowEvent | None) -> None:
        if self.summary is not None or (self.header is not None and isinstance(event, RowHeader)):
            raise self._mismatch("the stream continues after its summary, or has two headers")
        if isinstance(event, RowHeader):
            if event.layout is None:
                raise self._mismatch("the layout of the rows is unknown")
            check_kept(event, event.count.tokens, self._mismatch)
            self.header = event
        elif event is None:
            self._unknown += 1
            if self._unknown == UNKNOWN_EVENTS:
                raise self._mismatch(f"{UNKNOWN_EVENTS} consecutive events of unknown kind")
        elif self.header is None or self.header.layout is None:
            raise self._mismatch("rows came before their header")
        elif isinstance(event, ChunkFrame):
            self._add(event, self.header.rows, self.header.layout)
        else:
            self._close(event, self.header.rows, self.header.layout)

    def _add(self, chunk: ChunkFrame, rows: int, layout: RowLayout) -> None:
        in_order = chunk.first_row == self.next_row and self.next_row + chunk.rows <= rows
        if not in_order or chunk.rows == 0 or len(chunk.data) != chunk.rows * layout.row_bytes:
            raise self._mismatch(f"a chunk of {chunk.rows} rows at {chunk.first_row} after {self.next_row}")
        if xxhash.xxh3_64_intdigest(chunk.data) != chunk.xxh3:
            raise self._mismatch(f"wrong checksum of the chunk at row {chunk.first_row}")
        self._unknown = 0
        self.next_row += chunk.rows

    def _close(self, summary: RowSummary, rows: int, layout: RowLayout) -> None:
        if self.next_row != rows:
            raise self._mismatch(f"{self.next_row} rows came, expected {rows}")
        check_summary(summary, rows, layout, self._mismatch)
        self.summary = summary

    def end(self) -> tuple[RowHeader, RowLayout, RowSummary]:
        """Header, layout and summary of the complete stream."""
        if self.header is None or self.header.layout is None or self.summary is None:
            raise self._mismatch("the stream ended without a summary")
        return self.header, self.header.layout, self.summary
