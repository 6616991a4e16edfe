"""The layout of rows: a visual token's bytes, and how rows are chunked for the wire.

A row is `width * (1 + levels)` values, little-endian: the pooled features, then each deepstack level, as in
vLLM's `image_embeds`. Scaled dtypes append their scales in fp32. Rows are in raster order of the merged grid.
Independent of models and tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum

import grpc

from fovea.contract.codec import EnumCodec
from fovea.contract.errors import FoveaError
from fovea.vision.v1 import rows_pb2

LAYOUT_VERSION = 1
CHUNK_BYTES = 1024 * 1024
SCALE_BYTES = 4
INT8_GROUP = 64


class RowDtype(Enum):
    """The dtype of a row's values. The enum value is the name in settings, logs and receipts."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"
    FP8 = "fp8"
    INT8 = "int8"

    @property
    def itemsize(self) -> int:
        """Bytes of a value, without its share of a scale."""
        return _ITEMSIZE[self]


_ITEMSIZE = {RowDtype.BF16: 2, RowDtype.FP16: 2, RowDtype.FP32: 4, RowDtype.FP8: 1, RowDtype.INT8: 1}


class RowOrigin(StrEnum):
    """Where the rows of an image came from. The enum value is the name on receipts."""

    ENCODED = "encoded"
    STORE = "rows"
    PREFIX = "prefix"
    NONE = "none"


class RowGroupsUneven(FoveaError, ValueError):
    """A level cannot be divided into int8 scale groups, so rows of this width cannot be int8."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHECKPOINT_NOT_SUPPORTED"

    def __init__(self, width: int) -> None:
        super().__init__(
            f"int8 rows need a width that groups of {INT8_GROUP} values divide; the width is {width}",
            limit=INT8_GROUP,
            actual=width,
        )


@dataclass(frozen=True)
class RowLayout:
    """The values of a row: a pooled level and `levels` deepstack levels, each of `width` values in `dtype`.

    Raises RowGroupsUneven if int8 does not support the width.
    """

    width: int
    levels: int
    dtype: RowDtype

    def __post_init__(self) -> None:
        if self.dtype is RowDtype.INT8 and self.width % self.group:
            raise RowGroupsUneven(self.width)

    @property
    def values(self) -> int:
        return self.width * (1 + self.levels)

    @property
    def group(self) -> int:
        """The number of values that share a scale, for scaled dtypes: a level in fp8, at most 64 in int8."""
        return max(1, min(INT8_GROUP, self.width)) if self.dtype is RowDtype.INT8 else self.width

    @property
    def scales(self) -> int:
        """The number of scales after the values of a row."""
        return self.values // self.group if self.dtype in (RowDtype.FP8, RowDtype.INT8) else 0

    @property
    def row_bytes(self) -> int:
        return self.values * self.dtype.itemsize + self.scales * SCALE_BYTES

    @property
    def rows_per_chunk(self) -> int:
        """The number of whole rows that fit a chunk, at least 1."""
        return max(1, CHUNK_BYTES // self.row_bytes)


def chunks(rows: memoryview, layout: RowLayout) -> Iterator[tuple[int, memoryview]]:
    """Split `rows` (n * row_bytes) on row boundaries into (first row, bytes), without copying."""
    step = layout.rows_per_chunk * layout.row_bytes
    for offset in range(0, len(rows), step):
        yield offset // layout.row_bytes, rows[offset : offset + step]


def digest(data: bytes | memoryview) -> str:
    """The public id of bytes: `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


_ORIGIN_NUMBERS = {
    RowOrigin.ENCODED: rows_pb2.ROW_SOURCE_ENCODED,
    RowOrigin.STORE: rows_pb2.ROW_SOURCE_ROWS,
    RowOrigin.PREFIX: rows_pb2.ROW_SOURCE_PREFIX,
    RowOrigin.NONE: rows_pb2.ROW_SOURCE_NONE,
}
_ORIGINS = {number: origin for origin, number in _ORIGIN_NUMBERS.items()}
_DTYPE = EnumCodec(rows_pb2.RowDtype, RowDtype)


def layout_to_proto(layout: RowLayout) -> rows_pb2.RowLayout:
    return rows_pb2.RowLayout(
        version=LAYOUT_VERSION,
        width=layout.width,
        levels=layout.levels,
        dtype=_DTYPE.to_proto(layout.dtype),
        row_bytes=layout.row_bytes,
    )


def layout_from_proto(message: rows_pb2.RowLayout) -> RowLayout | None:
    """None if the layout is unknown to this version or inconsistent."""
    dtype = _DTYPE.from_proto(message.dtype)
    if dtype is None or message.version != LAYOUT_VERSION:
        return None
    try:
        layout = RowLayout(message.width, message.levels, dtype)
    except RowGroupsUneven:
        return None
    return layout if layout.row_bytes == message.row_bytes else None


def dtype_to_proto(name: str) -> rows_pb2.RowDtype.ValueType:
    number: rows_pb2.RowDtype.ValueType = _DTYPE.to_proto(RowDtype(name) if name else None)
    return number


def dtype_from_proto(number: rows_pb2.RowDtype.ValueType) -> str:
    dtype = _DTYPE.from_proto(number)
    return dtype.value if dtype else ""


def origin_to_proto(origin: RowOrigin) -> rows_pb2.RowSource.ValueType:
    return _ORIGIN_NUMBERS[origin]


def origin_from_proto(number: rows_pb2.RowSource.ValueType) -> RowOrigin:
    """NONE for an unknown number."""
    return _ORIGINS.get(number, RowOrigin.NONE)
