"""Assembles the rows of an Encode stream; `fovea.contract.row_stream` verifies them."""

from __future__ import annotations

from fovea.client.values import Rows, as_tuple
from fovea.contract.errors import RowsMismatch
from fovea.contract.frames import ChunkFrame
from fovea.contract.row_stream import RowStream, event_from_proto
from fovea.contract.rows import digest
from fovea.encoder.v1 import encoder_pb2


class RowStreamReader:
    """`take` every message of a stream, then call `rows`."""

    def __init__(self) -> None:
        self._stream = RowStream()
        self._data: list[bytes | memoryview] = []

    def take(self, message: encoder_pb2.EncodeResponse) -> None:
        """Raises RowsMismatch at the first inconsistency."""
        event = event_from_proto(message)
        self._stream.take(event)
        if isinstance(event, ChunkFrame):
            self._data.append(event.data)

    def rows(self) -> Rows:
        """All rows. Raises RowsMismatch if the stream was incomplete, or the digest does not fit."""
        header, layout, summary = self._stream.end()
        data = b"".join(self._data)
        if digest(data) != summary.rows_digest:
            raise RowsMismatch("the digest of the rows does not fit")
        return Rows(
            data=data,
            count=header.rows,
            width=layout.width,
            levels=layout.levels,
            dtype=layout.dtype.value,
            grid_thw=header.count.grid_thw,
            source=header.origin,
            encoder=header.encoder,
            fingerprint=header.fingerprint,
            rows_digest=summary.rows_digest,
            timings=summary.timings,
            kept=as_tuple(header.kept),
        )
