"""The rows of an image as they arrive.

The event loop writes rows; the engine thread reads the rows that `ready` covers. A row is never rewritten.
Every chunk is checked against the prompt, because a model that reads other rows gives fluent wrong answers. A
value that is not finite spoils everything that is computed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ImageSpan, Prompt, RowChunk
from decoder_svc.errors import RowsInterrupted
from fovea.contract.errors import RowsMismatch, RowsNotFinite
from fovea.contract.rows import RowDtype, RowLayout
from fovea.finite import first_not_finite


class RowBuffer:
    """`data` holds bytes (rows, row_bytes), usable up to row `ready`. The model computes in `dtype`."""

    def __init__(self, span: ImageSpan, layout: RowLayout, dtype: RowDtype) -> None:
        self.span = span
        self.layout = layout
        self._dtype = dtype
        self.data: NDArray[np.uint8] = np.empty((span.rows, layout.row_bytes), np.uint8)
        self.wanted = False  # whether the rows are fetched; those of a cached prompt are not
        self.ended = False  # the stream ended after the last row
        self._arrived = 0

    @property
    def ready(self) -> int:
        """Rows that may be used. The last row waits for the clean end of the stream, so that no token is
        sampled from an image whose stream fails after its last row.
        """
        return self._arrived if self.ended else min(self._arrived, self.span.rows - 1)

    def write(self, chunk: RowChunk) -> None:
        """Append rows. Raises RowsMismatch or RowsNotFinite."""
        if chunk.first_row != self._arrived:
            raise self._mismatch("rows out of order", self._arrived, chunk.first_row)
        if chunk.first_row + chunk.rows > self.span.rows or chunk.rows < 1:
            raise self._mismatch("too many rows", self.span.rows, chunk.first_row + chunk.rows)
        source = np.frombuffer(chunk.data, np.uint8)
        if source.size != chunk.rows * self.layout.row_bytes:
            raise self._mismatch("bytes", chunk.rows * self.layout.row_bytes, source.size)
        rows = source.reshape(chunk.rows, -1)
        bad = first_not_finite(rows, self.layout, self._dtype)
        if bad is not None:
            raise RowsNotFinite(
                f"the image at token {self.span.start}", chunk.first_row + bad, self._dtype.value
            )
        self.data[chunk.first_row : chunk.first_row + chunk.rows] = rows
        self._arrived += chunk.rows

    def end(self) -> None:
        """The stream ended. Raises RowsMismatch if rows are missing."""
        if self._arrived != self.span.rows:
            raise self._mismatch("rows are missing", self.span.rows, self._arrived)
        self.ended = True

    def _mismatch(self, what: str, expected: int, received: int) -> RowsMismatch:
        return RowsMismatch(
            f"rows of the image at token {self.span.start}: {what}, expected {expected}, received {received}",
            expected=expected,
            received=received,
        )


def row_buffers(prompt: Prompt, layout: RowLayout | None, dtype: RowDtype) -> tuple[RowBuffer, ...]:
    """An empty buffer for each image. `layout` is None only for prompts without images."""
    return tuple(RowBuffer(span, layout, dtype) for span in prompt.images if layout is not None)


async def pull(source: AsyncIterator[RowChunk], buffer: RowBuffer, arrived: Callable[[], None]) -> None:
    """Move a stream into its buffer and call `arrived` after each chunk.

    Raises what the stream raises. Raises RowsInterrupted if the sender cancelled the stream: a CancelledError
    would look like a cancellation of our task, and no caller would see a failure.
    """
    try:
        async for chunk in source:
            buffer.write(chunk)
            arrived()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RowsInterrupted(buffer.span.start) from error
    buffer.end()
    arrived()
