"""The pooled level of rows as float32, for any row dtype; the input of rankers.

Reads the layouts of `fovea.vision.v1.RowDtype` by name. Deepstack levels are not read: a row is a token, and
is kept or dropped with all its levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fovea.contract.rows import RowDtype, RowLayout

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def pooled(data: memoryview, layout: RowLayout) -> Floats:
    """(rows, width) of the pooled level, float32."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, layout.row_bytes)
    if layout.scales:
        return _scaled(rows, layout)
    if layout.dtype is RowDtype.BF16:
        halves = _values(rows, layout.width, "<u2").astype(np.uint32)
        return (halves << 16).view(np.float32)
    return _values(rows, layout.width, "<f2" if layout.dtype is RowDtype.FP16 else "<f4").astype(np.float32)


def _scaled(rows: Bytes, layout: RowLayout) -> Floats:
    codes = rows[:, : layout.width]
    values: npt.NDArray[Any] = codes.view(np.int8) if layout.dtype is RowDtype.INT8 else E4M3[codes]
    scales = _values(rows[:, layout.values :], layout.width // layout.group, "<f4")
    groups = values.reshape(*scales.shape, layout.group) * scales[:, :, np.newaxis]
    return np.asarray(groups, np.float32).reshape(codes.shape)


def _values(rows: Bytes, count: int, dtype: str) -> npt.NDArray[Any]:
    """The first `count` values of each row."""
    prefix = np.ascontiguousarray(rows[:, : count * np.dtype(dtype).itemsize])
    return prefix.view(dtype)


def _e4m3() -> Floats:
    """The value of each float8 e4m3fn byte: no infinity, NaN at 0x7F and 0xFF."""
    code = np.arange(256)
    exponent, fraction = code >> 3 & 15, code & 7
    small, normal = fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7.0)
    size = np.where(exponent == 0, small, normal)
    size[code & 0x7F == 0x7F] = np.nan
    return np.where(code < 128, size, -size).astype(np.float32)


E4M3 = _e4m3()
