"""Assembles and verifies the rows of an Encode stream; nothing received is trusted.

Layout, kept indices, order, count, length and checksum of every chunk are compared with the header, and the
digest of all rows with the summary. Independent of the transport.
"""

from __future__ import annotations

import xxhash

from fovea.client.convert import flat, kept
from fovea.client.values import Rows
from fovea.contract.errors import RowsMismatch
from fovea.contract.rows import RowLayout, digest, layout_from_proto, origin_from_proto
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import rows_pb2


class RowStreamReader:
    """The state of a stream: `take` every message, then call `rows`."""

    def __init__(self) -> None:
        self._header: encoder_pb2.EncodeHeader | None = None
        self._summary: encoder_pb2.EncodeSummary | None = None
        self._layout: RowLayout | None = None
        self._kept: tuple[int, ...] = ()
        self._data: list[bytes] = []
        self._next = 0

    def take(self, message: encoder_pb2.EncodeResponse) -> None:
        """Raises RowsMismatch at the first inconsistency."""
        kind = message.WhichOneof("event")
        if kind == "header":
            self._open(message.header)
        elif kind == "chunk":
            self._add(message.chunk)
        elif kind == "summary":
            self._summary = message.summary

    def _open(self, header: encoder_pb2.EncodeHeader) -> None:
        layout = layout_from_proto(header.layout)
        if self._header is not None or layout is None:
            raise RowsMismatch("the stream has a second header, or rows of an unknown layout")
        self._kept = kept(header)
        self._header, self._layout = header, layout

    def _add(self, chunk: rows_pb2.RowChunk) -> None:
        if self._header is None or self._layout is None:
            raise RowsMismatch("rows came before their header")
        data = chunk.data  # each access copies
        in_order = chunk.first_row == self._next and self._next + chunk.rows <= self._header.rows
        if not in_order or len(data) != chunk.rows * self._layout.row_bytes:
            raise RowsMismatch(f"{chunk.rows} rows at {chunk.first_row} came after {self._next} rows")
        if xxhash.xxh3_64_intdigest(data) != chunk.xxh3:
            raise RowsMismatch(f"the checksum of the rows at {chunk.first_row} does not fit")
        self._next += chunk.rows
        self._data.append(data)

    def rows(self) -> Rows:
        """All rows. Raises RowsMismatch if the stream was incomplete."""
        header, layout, summary = self._header, self._layout, self._summary
        if header is None or layout is None or summary is None:
            raise RowsMismatch("the stream ended without a header or a summary")
        data = b"".join(self._data)
        if not (self._next == header.rows == summary.rows and len(data) == summary.row_bytes):
            raise RowsMismatch(f"{self._next} rows came, {header.rows} were announced")
        if digest(data) != summary.rows_digest:
            raise RowsMismatch("the digest of the rows does not fit")
        return Rows(
            data=data,
            count=header.rows,
            width=layout.width,
            levels=layout.levels,
            dtype=layout.dtype.value,
            grid_thw=(header.count.grid.t, header.count.grid.h, header.count.grid.w),
            source=origin_from_proto(header.source),
            encoder=header.encoder,
            fingerprint=header.fingerprint,
            rows_digest=summary.rows_digest,
            timings=flat(summary.timings),
            kept=self._kept,
        )
