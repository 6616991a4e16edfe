"""The layout of visual rows: what one visual token is in bytes, and how rows are cut for the wire.

A row is `width * (1 + levels)` values, little-endian: the pooled features, then each deepstack level, as in
vLLM's `image_embeds`. Rows stand in raster order of the merged grid. This module knows bytes and counts; it
does not know what computed them or who reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

LAYOUT_VERSION = 1
CHUNK_BYTES = 1024 * 1024


class RowDtype(Enum):
    """How one value of a row is kept. The value is the name used in settings, logs and receipts."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"

    @property
    def itemsize(self) -> int:
        return 4 if self is RowDtype.FP32 else 2


@dataclass(frozen=True)
class RowLayout:
    """`width` values a level, `levels` deepstack levels beside the pooled one, each value in `dtype`."""

    width: int
    levels: int
    dtype: RowDtype

    @property
    def values(self) -> int:
        return self.width * (1 + self.levels)

    @property
    def row_bytes(self) -> int:
        return self.values * self.dtype.itemsize

    @property
    def rows_per_chunk(self) -> int:
        """As many whole rows as fit into a chunk, and never none."""
        return max(1, CHUNK_BYTES // self.row_bytes)


def chunks(rows: memoryview, layout: RowLayout) -> Iterator[tuple[int, memoryview]]:
    """Cut `rows` (n * row_bytes) on row boundaries into (first row, bytes); no copy is made."""
    step = layout.rows_per_chunk * layout.row_bytes
    for offset in range(0, len(rows), step):
        yield offset // layout.row_bytes, rows[offset : offset + step]


def digest(data: bytes | memoryview) -> str:
    """The public id of bytes: `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
